# Pipelines, and people who promote and roll back: move heads, and see what instances have loaded.
#
# SCOPE is the environment as Consul knows it, such as prod-0c2f6a1b9d3e; `penstock doctor` shows it.

key_prefix "penstock/SCOPE/heads/" {
  policy = "write"
}

key_prefix "penstock/SCOPE/loaded/" {
  policy = "read"
}
