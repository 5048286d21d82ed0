"""Webhooks by the Standard Webhooks scheme: `endpoints` are where events go, `signing` says that they come from here, `deliver` sends them
until they are taken."""
