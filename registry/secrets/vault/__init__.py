"""Secrets in Vault (or OpenBao), through hvac."""
