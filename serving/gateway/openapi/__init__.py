"""The OpenAPI document, made of what is live: `GET /openapi.json`."""
