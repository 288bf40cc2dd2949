/* Runs the evaluator outside Python: under sanitisers, under an emulated processor, on broken images.
 *
 *   driver FILE              predicts FILE by every design at every level; raw scores to stdout
 *   driver FILE SEED COUNT   mutates its image COUNT times and predicts what passes forest_check
 *
 * FILE: uint64 bytes of the image, rows, features, outputs; the image; the matrix.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forest.h"

static uint64_t state;

static uint64_t draw(uint64_t below)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state % below;
}

static void *load(FILE *file, size_t bytes)
{
    /* Exactly as large as it is, so that a read behind its end is seen. */
    char *memory = NULL;
    if (posix_memalign((void **)&memory, 64, bytes ? bytes : 1) || fread(memory, 1, bytes, file) != bytes)
        exit(2);
    return memory;
}

static void mutate(unsigned char *image, uint64_t bytes)
{
    static const uint32_t numbers[] = {0, 1, 2, 7, 8, 63, 64, 255, 256, 65535, 65536, 0x7fffffff,
                                       0x80000000, 0xfffffffe, 0xffffffff};
    /* Headers and tables are small beside values: half of the mutations go there. */
    for (uint64_t times = 1 + draw(4); times; times--) {
        const uint64_t at = draw(draw(2) ? bytes : bytes < 1024 ? bytes : 1024) / 4 * 4;
        uint32_t number = numbers[draw(sizeof numbers / sizeof *numbers)];
        if (draw(2)) {
            memcpy(&number, image + at, 4);
            number = draw(2) ? number ^ 1u << draw(32) : number + (uint32_t)draw(5) - 2;
        }
        memcpy(image + at, &number, 4);
    }
}

static uint64_t fuzz(const unsigned char *image, const uint64_t *sizes, const double *matrix,
                     uint64_t count)
{
    uint64_t passed = 0;
    unsigned char *copy = NULL;
    if (posix_memalign((void **)&copy, 64, sizes[0]))
        exit(2);
    for (uint64_t i = 0; i < count; i++) {
        memcpy(copy, image, sizes[0]);
        mutate(copy, sizes[0]);
        if (forest_check(copy, draw(8) ? sizes[0] : draw(sizes[0] + 1)))
            continue;
        uint32_t shape[2];
        memcpy(shape, copy + 56, sizeof shape);
        if (shape[0] > sizes[2] || (uint64_t)shape[1] > 16 * sizes[3])
            continue; /* the matrix would be too small, which is the caller's to see */
        passed++;
        double *out = malloc(sizes[1] * shape[1] * sizeof *out);
        for (int level = 0; level <= forest_level(); level++)
            for (int design = WALK; design <= (level ? BLOCKED_WALK : WALK); design++)
                if (forest_predict(copy, matrix, (int64_t)sizes[1], out, 0, level, design))
                    exit(3);
        free(out);
    }
    free(copy);
    return passed;
}

int main(int words, char **word)
{
    uint64_t sizes[4];
    FILE *file = fopen(word[1], "rb");
    if (!file || fread(sizes, sizeof *sizes, 4, file) != 4)
        return 2;
    unsigned char *image = load(file, sizes[0]);
    double *matrix = load(file, sizes[1] * sizes[2] * sizeof *matrix);
    fclose(file);
    if (words == 4) {
        state = strtoull(word[2], NULL, 10) * 2 + 88172645463325253u;
        printf("%llu\n", (unsigned long long)fuzz(image, sizes, matrix, strtoull(word[3], NULL, 10)));
    } else {
        const int failed = forest_check(image, sizes[0]);
        if (failed)
            return fprintf(stderr, "check.c:%d\n", failed), 4;
        double *out = malloc(sizes[1] * sizes[3] * sizeof *out);
        fprintf(stderr, "level %d\n", forest_level());
        for (int level = 0; level <= forest_level(); level++)
            for (int design = WALK; design <= (level ? BLOCKED_WALK : WALK); design++) {
                if (forest_predict(image, matrix, (int64_t)sizes[1], out, 1, level, design))
                    return 3;
                fwrite(out, sizeof *out, sizes[1] * sizes[3], stdout);
            }
        free(out);
    }
    free(image);
    free(matrix);
    return 0;
}
