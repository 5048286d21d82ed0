"""/v1/responses: `request` is the body as the same chat that /v1/chat/completions takes, `writing` makes events and the response of what
comes, `store` keeps responses so that a conversation goes on from one."""
