"""An exact evaluator of LightGBM models: a flat image, made once, that processes share.

| module | |
|---|---|
| `columns` | features to ranks: what makes every split `rank > bin` |
| `shape` | trees level by level: depths, places of nodes, leaves from left to right |
| `image` | the arrays as one block of bytes |
| `native/` | the evaluator, in C |
| `library` | loads it, if it was built |
| `images` | images as files of this machine |
| `evaluator` | rows to outputs; what stands behind `registry.models.predictor` |
"""
