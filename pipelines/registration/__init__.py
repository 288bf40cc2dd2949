"""Registration: job specifications in `nomad/` become jobs of a cluster, as they are and no other way.

`specs` reads what a specification declares, `values` fills it in, `wanted` says which jobs there
are to be, `guard` refuses secrets in them, `cluster` speaks to Nomad, `difference` puts its plans
into words, `register` does it. `rollout` follows the deployment of a service.
"""
