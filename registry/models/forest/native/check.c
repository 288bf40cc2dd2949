/* Proves that following an image never leaves it. Costs a pass over the image when it is opened. */
#include <stdlib.h>
#include <string.h>

#include "forest.h"
#include "image.h"

#define REQUIRE(condition) do { if (!(condition)) return __LINE__; } while (0)

static const uint32_t SIZES[PARTS] = {
    [COLUMNS] = sizeof(struct column), [THRESHOLDS] = sizeof(double), [WORDS] = sizeof(uint32_t),
    [TREES] = sizeof(struct tree), [NODES] = sizeof(uint32_t), [VALUES] = sizeof(double),
    [PLANES] = sizeof(uint32_t), [RULES] = sizeof(struct rule), [LINEAR] = sizeof(struct linear),
    [TERMS] = sizeof(struct term),
};

static const void *part(const struct header *h, enum part which)
{
    return (const char *)h + h->parts[which].offset;
}

static int check_header(const struct header *h, uint64_t bytes)
{
    REQUIRE(bytes >= sizeof *h && bytes < UINT64_C(1) << 32 && (uintptr_t)h % 8 == 0);
    REQUIRE(!memcmp(h->magic, "PSFOREST", 8) && h->format == FORMAT && h->order == ORDER);
    REQUIRE(h->bytes == bytes);
    REQUIRE(h->features >= 1 && h->outputs >= 1 && h->wide <= 1);
    REQUIRE(h->transform <= SIGNED_SQUARE && h->averaged <= 1);
    for (int p = 0; p < PARTS; p++) {
        const struct section *s = &h->parts[p];
        REQUIRE(s->offset % 64 == 0 && s->offset >= sizeof *h && s->offset <= bytes);
        REQUIRE(s->count <= (bytes - s->offset) / SIZES[p]);
    }
    REQUIRE(h->parts[COLUMNS].count <= 65536 && h->parts[COLUMNS].count <= h->width);
    REQUIRE(h->width <= 65536 && h->parts[TREES].count % h->outputs == 0);
    REQUIRE(!h->parts[LINEAR].count || h->parts[LINEAR].count == h->parts[VALUES].count);
    return 0;
}

static int check_columns(const struct header *h)
{
    const struct column *c = part(h, COLUMNS), *end = c + h->parts[COLUMNS].count;
    const uint32_t *words = part(h, WORDS);
    for (; c < end; c++) {
        REQUIRE(c->feature < h->features && c->missing <= CATEGORY);
        if (c->missing == CATEGORY) {
            REQUIRE((uint64_t)c->first + c->count + 1 <= h->parts[WORDS].count);
            REQUIRE(words[c->first + c->count] == 0);
        } else {
            REQUIRE(c->count <= MOST_THRESHOLDS);
            REQUIRE((uint64_t)c->first + c->count <= h->parts[THRESHOLDS].count);
        }
    }
    return 0;
}

/* Children lie behind their parents, so a walk ends; it ends at a leaf after `depth` steps. */
static int check_nodes(const struct header *h, const struct tree *t, uint32_t *height)
{
    const uint32_t *narrow = part(h, NODES), unit = h->wide ? 2 : 1;
    REQUIRE(t->nodes >= 1 && (uint64_t)t->root + (uint64_t)t->nodes * unit <= h->parts[NODES].count);
    REQUIRE(t->root % unit == 0);
    for (uint32_t i = t->nodes; i-- > 0;) {
        const uint32_t low = narrow[t->root + i * unit];
        const uint32_t distance = h->wide ? narrow[t->root + i * unit + 1] : low >> 24;
        height[i] = 0;
        if (NODE_BIN(low) == LEAF_BIN) {
            const uint32_t leaf = h->wide ? distance : NODE_COLUMN(low);
            REQUIRE(leaf < t->leaves && (h->wide ? NODE_COLUMN(low) == 0 : !distance));
            REQUIRE(NODE_COLUMN(low) < h->width);
        } else {
            REQUIRE(NODE_COLUMN(low) < h->parts[COLUMNS].count);
            REQUIRE(distance >= 1 && (uint64_t)i + distance + 1 < t->nodes);
            const uint32_t left = height[i + distance], right = height[i + distance + 1];
            height[i] = 1 + (left > right ? left : right);
        }
    }
    REQUIRE(height[0] == t->depth);
    return 0;
}

static int check_planes(const struct header *h, const struct tree *t)
{
    const uint32_t *planes = part(h, PLANES);
    REQUIRE(t->planes <= MOST_PLANES);
    const uint64_t room = t->planes ? 8 * (uint64_t)t->planes : t->leaves;
    REQUIRE(t->leaves >= 1 && t->leaves <= room);
    REQUIRE((uint64_t)t->value + room <= h->parts[VALUES].count);
    REQUIRE((uint64_t)t->plane + t->planes + 1 <= h->parts[PLANES].count);
    for (uint32_t p = 0; p < t->planes; p++)
        REQUIRE(planes[t->plane + p] <= planes[t->plane + p + 1]);
    REQUIRE(planes[t->plane + t->planes] <= h->parts[RULES].count);
    REQUIRE(t->linear <= (h->parts[LINEAR].count > 0));
    return 0;
}

static int check_trees(const struct header *h, uint32_t *height)
{
    const struct tree *t = part(h, TREES), *end = t + h->parts[TREES].count;
    int failed = 0;
    for (; t < end && !failed; t++)
        failed = (failed = check_planes(h, t)) ? failed : check_nodes(h, t, height);
    return failed;
}

static int check_rest(const struct header *h)
{
    const struct rule *rule = part(h, RULES);
    const struct linear *leaf = part(h, LINEAR);
    const struct term *term = part(h, TERMS);
    for (uint64_t i = 0; i < h->parts[RULES].count; i++)
        REQUIRE(rule[i].column < h->parts[COLUMNS].count);
    for (uint64_t i = 0; i < h->parts[LINEAR].count; i++)
        REQUIRE((uint64_t)leaf[i].first + leaf[i].count <= h->parts[TERMS].count);
    for (uint64_t i = 0; i < h->parts[TERMS].count; i++)
        REQUIRE(term[i].feature < h->features);
    return 0;
}

int forest_check(const void *image, uint64_t bytes)
{
    const struct header *h = image;
    int failed = check_header(h, bytes);
    if (!failed)
        failed = check_columns(h);
    if (!failed)
        failed = check_rest(h);
    if (failed)
        return failed;
    uint32_t *height = malloc((h->parts[NODES].count + 1) * sizeof *height);
    REQUIRE(height);
    failed = check_trees(h, height);
    free(height);
    return failed;
}
