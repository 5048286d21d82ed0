"""OpenAI's API over the models of this machine: `chaintune serve`.

    app = create(Settings())        # apps.server.app; what uvicorn runs

A request's way: `guard` (host, size, key), a route, `warm` (the model in memory, shared by all), the engine. `errors` turns whatever went
wrong into OpenAI's JSON. Files, jobs and keys are rows of `server.db`.
"""
