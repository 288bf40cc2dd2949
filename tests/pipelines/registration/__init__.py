"""Registration without a cluster."""
