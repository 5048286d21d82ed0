"""/docs: every field, in Swagger UI. Its files are this machine's own, so that the page works without a network and asks nobody else."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

FILES = "/docs/files"
SHOWN: dict[str, Any] = {
    "docExpansion": "list",
    "defaultModelsExpandDepth": -1,
    "tryItOutEnabled": True,
    "filter": True,
}


def add_to(app: FastAPI) -> None:
    """Give `app` the page."""
    app.mount(FILES, StaticFiles(packages=[("fastapi_swagger", "resources")]))
    app.add_api_route("/docs", _page, include_in_schema=False)


async def _page() -> HTMLResponse:
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="chaintune: OpenAI's API",
        swagger_js_url=f"{FILES}/swagger-ui-bundle.js",
        swagger_css_url=f"{FILES}/swagger-ui.css",
        swagger_favicon_url=f"{FILES}/favicon-32x32.png",
        swagger_ui_parameters=SHOWN,
    )
