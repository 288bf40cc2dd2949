/* What registry/models/forest/library.py calls. */
#ifndef PENSTOCK_FOREST_H
#define PENSTOCK_FOREST_H

#include <stdint.h>

enum level { SCALAR, VECTOR_16, VECTOR_32, VECTOR_64 }; /* bytes of a vector */
enum design { AUTOMATIC, WALK, BIT_VECTORS, BLOCKED_WALK };

#define PUBLIC __attribute__((visibility("default")))

/* Whether every index in the image stays inside: 0, or the line of the test that failed. */
PUBLIC int forest_check(const void *image, uint64_t bytes);

/* The best level of this processor. */
PUBLIC int forest_level(void);

/* Outputs of `rows` x outputs for `rows` x features; raw scores where `raw`. 0, or -1 without memory.
 * The image must have passed forest_check; `level` must not be above forest_level(). */
PUBLIC int forest_predict(const void *image, const double *matrix, int64_t rows, double *out, int raw,
                   int level, int design);

#endif
