/* Reads the plainest of inference requests straight into a matrix of doubles.

   {"inputs":[{"name":"x","shape":[R,C],"datatype":"FP64","data":[…]}]}     plain_tensor
   {"instances":[[…],…]} or {"inputs":[[…],…]}                              plain_rows

   Whatever is not exactly that (another key, a key twice, an escape, a byte above 0x7e in a text, a
   number of more than 19 digits, a shape that does not fit) is answered with 0: the caller then
   reads the body with the library, which also words the error. So this only has to be right about
   what it accepts; it never has to decide that a request is wrong.

   Numbers are rounded as IEEE 754 says, like everywhere: exactly where a product of two doubles
   is exact (Clinger 1990), otherwise by Lemire's algorithm ("Number parsing at a gigabyte per
   second", 2021) with powers of ten that the caller computed, and 0 where that cannot decide. */

#include "plain.h"

#include <math.h>
#include <string.h>

typedef struct {
    const char *at, *end;
    const Plan *plan;
} Reader;

static const double EXACT[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                               1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                               1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static void space(Reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

/* The byte, with space around it. */
static int take(Reader *r, char byte)
{
    space(r);
    if (r->at == r->end || *r->at != byte)
        return 0;
    r->at++;
    space(r);
    return 1;
}

/* A text without escapes, of printable ASCII; its length, or -1. */
static int64_t text(Reader *r, const char **start)
{
    if (!take(r, '"'))
        return -1;
    while (r->at[-1] != '"') /* take() has skipped space that belongs to the text */
        r->at--;
    *start = r->at;
    while (r->at < r->end && *r->at >= 0x20 && *r->at < 0x7f && *r->at != '"' && *r->at != '\\')
        r->at++;
    if (r->at == r->end || *r->at != '"')
        return -1;
    r->at++;
    return r->at - 1 - *start;
}

static int is(const char *start, int64_t length, const char *word)
{
    return length == (int64_t)strlen(word) && !memcmp(start, word, (size_t)length);
}

static int digit(const Reader *r)
{
    return r->at < r->end && *r->at >= '0' && *r->at <= '9';
}

/* man * 10**exponent as the bits of a double; 0 if it cannot be told here. */
static int lemire(const Reader *r, uint64_t man, int64_t exponent, double *value)
{
    if (exponent < r->plan->lowest || exponent >= r->plan->lowest + r->plan->count)
        return 0;
    const uint64_t *power = r->plan->powers + 2 * (exponent - r->plan->lowest);
    int zeros = __builtin_clzll(man);
    man <<= zeros;
    uint64_t two = (uint64_t)(((217706 * exponent) >> 16) + 64 + 1023) - (uint64_t)zeros;
    unsigned __int128 x = (unsigned __int128)man * power[0];
    uint64_t high = (uint64_t)(x >> 64), low = (uint64_t)x;
    if ((high & 0x1ff) == 0x1ff && low + man < man) {
        unsigned __int128 y = (unsigned __int128)man * power[1];
        uint64_t merged = low + (uint64_t)(y >> 64);
        high += merged < low;
        if ((high & 0x1ff) == 0x1ff && merged + 1 == 0 && (uint64_t)y + man < man)
            return 0;
        low = merged;
    }
    uint64_t top = high >> 63, bits = high >> (top + 9);
    two -= 1 ^ top;
    if (low == 0 && (high & 0x1ff) == 0 && (bits & 3) == 1)
        return 0;
    bits = (bits + (bits & 1)) >> 1;
    if (bits >> 53) {
        bits >>= 1;
        two++;
    }
    if (two - 1 >= 0x7fe)
        return 0;
    bits = two << 52 | (bits & 0xfffffffffffff);
    memcpy(value, &bits, sizeof bits);
    return 1;
}

/* One number or null (missing: NaN). */
static int number(Reader *r, double *value)
{
    if (r->end - r->at >= 4 && !memcmp(r->at, "null", 4)) {
        r->at += 4;
        *value = NAN;
        return 1;
    }
    int negative = r->at < r->end && *r->at == '-';
    r->at += negative;
    if (!digit(r))
        return 0;
    uint64_t man = 0;
    int64_t exponent = 0, digits = 0;
    const char *first = r->at;
    for (; digit(r); r->at++) {
        man = man * 10 + (uint64_t)(*r->at - '0');
        digits += digits || *r->at != '0';
    }
    if (*first == '0' && r->at - first > 1)
        return 0;
    int whole = 1;
    if (r->at < r->end && *r->at == '.') {
        whole = 0;
        r->at++;
        const char *point = r->at;
        for (; digit(r); r->at++) {
            man = man * 10 + (uint64_t)(*r->at - '0');
            digits += digits || *r->at != '0';
        }
        if (r->at == point)
            return 0;
        exponent = point - r->at;
    }
    if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
        whole = 0;
        r->at++;
        int minus = r->at < r->end && *r->at == '-';
        if (minus || (r->at < r->end && *r->at == '+'))
            r->at++;
        const char *start = r->at;
        int64_t e = 0;
        for (; digit(r); r->at++)
            e = e < 10000 ? e * 10 + (*r->at - '0') : e;
        if (r->at == start)
            return 0;
        exponent += minus ? -e : e;
    }
    if (digits > 19)
        return 0;
    if (man == 0) {
        *value = negative && !whole ? -0.0 : 0.0; /* -0 is an integer, which has one zero */
        return 1;
    }
    if (man <= (1ull << 53) && exponent >= -22 && exponent <= 22)
        *value = exponent < 0 ? (double)man / EXACT[-exponent] : (double)man * EXACT[exponent];
    else if (!lemire(r, man, exponent, value))
        return 0;
    if (negative)
        *value = -*value;
    return 1;
}

/* Numbers after an opening bracket, up to the closing one; how many, or -1. */
static int64_t numbers(Reader *r, int64_t had)
{
    int64_t count = 0;
    do {
        if (had + count == r->plan->room || !number(r, r->plan->out + had + count))
            return -1;
        count++;
    } while (take(r, ','));
    return take(r, ']') ? count : -1;
}

/* A list of numbers, or (nested) of rows of `width` numbers; how many numbers, or -1. */
static int64_t matrix(Reader *r)
{
    if (!take(r, '['))
        return -1;
    if (r->at == r->end || *r->at != '[')
        return numbers(r, 0);
    int64_t count = 0;
    do {
        if (!take(r, '[') || numbers(r, count) != r->plan->width)
            return -1;
        count += r->plan->width;
    } while (take(r, ','));
    return take(r, ']') ? count : -1;
}

static int64_t whole(Reader *r)
{
    int64_t value = 0;
    const char *start = r->at;
    for (; digit(r); r->at++)
        value = value < (int64_t)1 << 40 ? value * 10 + (*r->at - '0') : value;
    return r->at == start || (*start == '0' && r->at - start > 1) ? -1 : value;
}

/* One tensor's key and value; its bit in `seen`, or 0. */
static int member(Reader *r, int64_t *rows, int64_t *count)
{
    const char *key, *value;
    int64_t length = text(r, &key);
    if (length < 0 || !take(r, ':'))
        return 0;
    if (is(key, length, "name"))
        return text(r, &value) >= 0 ? 1 : 0;
    if (is(key, length, "datatype")) {
        length = text(r, &value);
        return is(value, length, "FP64") || is(value, length, "FP32") ? 2 : 0;
    }
    if (is(key, length, "shape")) {
        if (!take(r, '[') || (*rows = whole(r)) < 1 || !take(r, ',') || whole(r) != r->plan->width)
            return 0;
        return take(r, ']') ? 4 : 0;
    }
    if (is(key, length, "data"))
        return (*count = matrix(r)) > 0 ? 8 : 0;
    return 0;
}

/* How many rows were written to the plan's `out`; 0 if the body is not as plain as that. */
EXPORT int64_t plain_tensor(const char *body, int64_t size, const Plan *plan)
{
    Reader r = {body, body + size, plan};
    int64_t rows = 0, values = 0, length;
    const char *key;
    int seen = 0;
    if (!take(&r, '{') || (length = text(&r, &key)) < 0 || !is(key, length, "inputs"))
        return 0;
    if (!take(&r, ':') || !take(&r, '[') || !take(&r, '{'))
        return 0;
    do {
        int found = member(&r, &rows, &values);
        if (!found || seen & found)
            return 0;
        seen |= found;
    } while (take(&r, ','));
    if (seen != 15 || !take(&r, '}') || !take(&r, ']') || !take(&r, '}') || r.at != r.end)
        return 0;
    return values == rows * plan->width ? rows : 0;
}

/* The same for MLflow's lists of rows. */
EXPORT int64_t plain_rows(const char *body, int64_t size, const Plan *plan)
{
    Reader r = {body, body + size, plan};
    const char *key;
    int64_t length;
    if (!take(&r, '{') || (length = text(&r, &key)) < 0 || !take(&r, ':'))
        return 0;
    if (!is(key, length, "instances") && !is(key, length, "inputs"))
        return 0;
    Reader ahead = r;
    if (!take(&ahead, '[') || ahead.at == ahead.end || *ahead.at != '[')
        return 0;
    int64_t values = matrix(&r);
    return values > 0 && take(&r, '}') && r.at == r.end ? values / plan->width : 0;
}

/* The rows of a body that begins at `start`, behind those that the plan has. */
static int64_t gather(Read read, const char *data, int64_t start, int64_t size, Plan *plan)
{
    Plan rest = *plan;
    rest.out += plan->used;
    rest.room -= plan->used;
    int64_t rows = read(data + start, size - start, &rest);
    plan->used += rows * plan->width;
    return rows;
}

EXPORT int64_t gather_tensor(const char *data, int64_t start, int64_t size, Plan *plan)
{
    return gather(plain_tensor, data, start, size, plan);
}

EXPORT int64_t gather_rows(const char *data, int64_t start, int64_t size, Plan *plan)
{
    return gather(plain_rows, data, start, size, plan);
}
