# The online service: follow heads, report what is loaded, register itself. It cannot move a head.
#
# SCOPE is the environment as Consul knows it, such as prod-0c2f6a1b9d3e; `penstock doctor` shows it.

key_prefix "penstock/SCOPE/heads/" {
  policy = "read"
}

key_prefix "penstock/SCOPE/loaded/" {
  policy = "write"
}

# A session belongs to the node of the agent that it is made at. To narrow it, name those nodes.
session_prefix "" {
  policy = "write"
}

# Only where PENSTOCK_SERVING_REGISTER is set: under Nomad the servers and clients register the job.
service "penstock-serving" {
  policy = "write"
}
