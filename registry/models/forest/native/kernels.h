/* The kernels for many rows, included once for each width of vectors: LEVEL(name), WIDTH, TARGET.
 *
 * GCC's and Clang's vector extension rather than intrinsics: one text for every instruction set, so
 * what is tested on one machine is what runs on another.
 */

typedef uint8_t LEVEL(vec) __attribute__((vector_size(WIDTH), may_alias));
typedef int8_t LEVEL(signed_vec) __attribute__((vector_size(WIDTH), may_alias));
#define VEC LEVEL(vec)
#define SIGNED LEVEL(signed_vec) /* comparing signed bytes is one instruction, unsigned two */
#define MOST_UNITS 4 /* vectors walked together, so that a rule is fetched once for all of them */

/* Ranks of rows x column as signed bytes, a column's rows side by side. Eight searches at a time:
 * each waits for its own loads only. */
TARGET static void LEVEL(rank_block)(const struct forest *f, const double *matrix, int rows,
                                     int stride, int8_t *ranks)
{
    const size_t features = f->head->features;
    for (uint32_t c = 0; c < f->count[COLUMNS]; c++) {
        const struct column *column = f->columns + c;
        const double *x = matrix + column->feature;
        int8_t *out = ranks + (size_t)c * stride;
        if (column->missing == CATEGORY) {
            const uint32_t *words = f->words + column->first;
            for (int r = 0; r < rows; r++)
                out[r] = (int8_t)(rank_category(words, column->count, x[r * features]) - 128);
            continue;
        }
        for (int r = 0; r < rows; r += 8) {
            uint32_t at[8] = {0};
            double v[8];
            for (int j = 0; j < 8; j++)
                v[j] = flush(x[(r + j < rows ? r + j : rows - 1) * features], column->missing);
            rank_numbers(f->thresholds + column->first, column->count, v, at);
            for (int j = 0; j < 8; j++)
                out[r + j] = (int8_t)(missing_or(column, v[j], at[j]) - 128);
        }
    }
}

/* Which leaf of a small tree each row falls into. Every rule that a row breaks takes leaves out;
 * of those left, the first is the answer. */
TARGET static inline __attribute__((always_inline)) void LEVEL(bits)(
    const struct forest *f, const struct tree *t, const int8_t *ranks, int units, uint8_t *leaf)
{
    const VEC zero = {0};
    const uint32_t *planes = f->planes + t->plane;
    VEC left[MOST_UNITS], base[MOST_UNITS];
    for (int u = 0; u < units; u++)
        left[u] = base[u] = zero;
    for (int p = (int)t->planes - 1; p >= 0; p--) {
        VEC in[MOST_UNITS];
        for (int u = 0; u < units; u++)
            in[u] = zero - 1;
        for (const struct rule *q = f->rules + planes[p]; q < f->rules + planes[p + 1]; q++) {
            const SIGNED *rank = (const SIGNED *)(ranks + (size_t)q->column * units * WIDTH);
            const SIGNED bin = (SIGNED)(zero + (uint8_t)q->bin);
            const VEC keep = zero + q->keep;
            for (int u = 0; u < units; u++)
                in[u] &= (VEC)(bin > rank[u]) | keep;
        }
        for (int u = 0; u < units; u++) {
            const VEC none = (VEC)(in[u] == zero);
            left[u] = (none & left[u]) | (~none & in[u]);
            base[u] = (none & base[u]) | (~none & (zero + (uint8_t)(8 * p)));
        }
    }
    for (int u = 0; u < units; u++) {
        const VEC bit = left[u] & -left[u];
        ((VEC *)leaf)[u] = base[u] + ((VEC)((bit & 0xaa) != zero) & 1)
            + ((VEC)((bit & 0xcc) != zero) & 2) + ((VEC)((bit & 0xf0) != zero) & 4);
    }
}

/* The same for a tree of any size: eight rows walk it at once, its nodes stay in the cache. */
TARGET static inline __attribute__((always_inline)) void LEVEL(walk_rows)(
    const struct forest *f, const struct tree *t, const int8_t *ranks, int stride, int wide,
    uint32_t *leaf)
{
    for (int r = 0; r < stride; r += 8) {
        uint32_t at[8];
        for (int j = 0; j < 8; j++)
            at[j] = t->root;
        for (uint32_t d = 0; d < t->depth; d++) {
            uint32_t inner = 0;
            for (int j = 0; j < 8; j++) {
                const uint32_t n = f->nodes[at[j]];
                const uint32_t bin = NODE_BIN(n);
                const uint32_t rank = (uint8_t)(ranks[(size_t)NODE_COLUMN(n) * stride + r + j] + 128);
                inner |= bin ^ LEAF_BIN;
                if (wide)
                    at[j] += bin == LEAF_BIN ? 0 : 2 * (f->nodes[at[j] + 1] + (rank > bin));
                else
                    at[j] += (n >> 24) + (rank > bin);
            }
            if (!inner)
                break;
        }
        for (int j = 0; j < 8; j++)
            leaf[r + j] = wide ? f->nodes[at[j] + 1] : NODE_COLUMN(f->nodes[at[j]]);
    }
}

TARGET static inline __attribute__((always_inline)) void LEVEL(block)(
    const struct forest *f, const double *matrix, int rows, double *out, int units, int design,
    struct scratch *scratch)
{
    const uint32_t outputs = f->head->outputs;
    const int stride = units * WIDTH;
    /* Without wider vectors, walking larger trees is faster than their rules. */
    const uint32_t most = WIDTH == 16 && design == AUTOMATIC ? 16 : MOST_PLANES;
    uint8_t small[MOST_UNITS * WIDTH] __attribute__((aligned(64)));
    LEVEL(rank_block)(f, matrix, rows, stride, scratch->ranks);
    for (uint64_t i = 0; i < f->count[TREES]; i++) {
        const struct tree *t = f->trees + i;
        const double *value = f->values + t->value;
        double *sum = out + i % outputs;
        if (t->planes && t->planes <= most && design != BLOCKED_WALK) {
            LEVEL(bits)(f, t, scratch->ranks, units, small);
            if (!t->linear) {
                for (int r = 0; r < rows; r++)
                    sum[(size_t)r * outputs] += value[small[r]];
                continue;
            }
            for (int r = 0; r < rows; r++)
                scratch->leaves[r] = small[r];
        } else if (f->head->wide) {
            LEVEL(walk_rows)(f, t, scratch->ranks, stride, 1, scratch->leaves);
        } else {
            LEVEL(walk_rows)(f, t, scratch->ranks, stride, 0, scratch->leaves);
        }
        for (int r = 0; r < rows; r++)
            sum[(size_t)r * outputs] +=
                leaf_value(f, t, scratch->leaves[r], matrix + (size_t)r * f->head->features);
    }
}

/* Raw scores of `rows`, in blocks of four vectors, the last in as few as hold it. */
TARGET static void LEVEL(blocks)(const struct forest *f, const double *matrix, int64_t rows,
                                 double *out, int design, struct scratch *scratch)
{
    const size_t features = f->head->features, outputs = f->head->outputs;
    const int large = MOST_UNITS * WIDTH;
    for (int64_t r = 0; r < rows; r += large) {
        const int n = (int)(rows - r < large ? rows - r : large);
        const double *x = matrix + (size_t)r * features;
        if (n <= WIDTH)
            LEVEL(block)(f, x, n, out + (size_t)r * outputs, 1, design, scratch);
        else if (n <= 2 * WIDTH)
            LEVEL(block)(f, x, n, out + (size_t)r * outputs, 2, design, scratch);
        else
            LEVEL(block)(f, x, n, out + (size_t)r * outputs, MOST_UNITS, design, scratch);
    }
}

#undef VEC
#undef SIGNED
#undef MOST_UNITS
#undef LEVEL
#undef WIDTH
#undef TARGET
