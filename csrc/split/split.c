/*
 * Extracts audio from JSON messages: one pass over the message decodes the base64 text at one
 * path and finds the values at other paths.
 *
 * The pass reads no byte after `end`. It returns IW_NOT_PLAIN wherever a complete JSON parser
 * could have another result.
 */
#include <stdlib.h>
#include <string.h>

#include "base64/iwp_base64.h"
#include "common/iwp_kernels.h"
#include "include/iw_message.h"

/*
 * The size of the blocks in which text is decoded for floats. Both buffers fit in the
 * first-level cache. A block has whole groups of 4 characters and whole samples of 2 bytes.
 */
enum { BLOCK_CHARACTERS = 4096, BLOCK_BYTES = BLOCK_CHARACTERS / 4 * 3 };

/* For texts up to this length, a loop is faster than memchr. */
enum { SHORT_TEXT = 32 };

struct key {
    uint16_t offset;
    uint16_t bytes;
};

struct iw_split_plan {
    unsigned path_count;
    unsigned depth[IW_SPLIT_MAX_PATHS];
    struct key keys[IW_SPLIT_MAX_PATHS][IW_SPLIT_MAX_DEPTH];
    char text[IW_SPLIT_MAX_TEXT];
};

struct walk {
    const struct iw_split_plan *plan;
    const uint8_t *src;
    const uint8_t *end;
    uint8_t *dst;
    size_t dst_bytes;
    struct iw_split_span *spans;
    size_t audio_bytes; /* written to dst */
    int form;
    enum iw_status status;
    size_t cut_bytes;                  /* the size of the audio's text; 0 before it is found */
    unsigned seen[IW_SPLIT_MAX_DEPTH]; /* by depth: a bit for each path whose key was found */
};

/* ---- plans ------------------------------------------------------------------------------- */

static int add_path(struct iw_split_plan *plan, unsigned path, size_t *used, const char *text)
{
    size_t bytes = strlen(text);
    unsigned depth = 0;
    size_t begin = 0;

    if (bytes == 0 || bytes + 1 > IW_SPLIT_MAX_TEXT - *used)
        return 0;
    memcpy(plan->text + *used, text, bytes + 1);
    for (size_t at = 0; at <= bytes; at++) {
        if (at < bytes && text[at] != '.')
            continue;
        if (depth == IW_SPLIT_MAX_DEPTH || at == begin)
            return 0;
        plan->keys[path][depth].offset = (uint16_t)(*used + begin);
        plan->keys[path][depth].bytes = (uint16_t)(at - begin);
        depth++;
        begin = at + 1;
    }
    plan->depth[path] = depth;
    *used += bytes + 1;
    return 1;
}

struct iw_split_plan *iw_split_plan_create(const char *paths, size_t path_count)
{
    struct iw_split_plan *plan;
    size_t used = 0;

    if (paths == NULL || path_count < 1 || path_count > IW_SPLIT_MAX_PATHS)
        return NULL;
    plan = calloc(1, sizeof *plan);
    if (plan == NULL)
        return NULL;
    plan->path_count = (unsigned)path_count;
    for (unsigned path = 0; path < plan->path_count; path++) {
        if (!add_path(plan, path, &used, paths)) {
            free(plan);
            return NULL;
        }
        paths += strlen(paths) + 1;
    }
    return plan;
}

void iw_split_plan_destroy(struct iw_split_plan *plan)
{
    free(plan);
}

size_t iw_split_plan_paths(const struct iw_split_plan *plan)
{
    return plan->path_count;
}

/* ---- JSON -------------------------------------------------------------------------------- */

static const uint8_t *give_up(struct walk *walk, enum iw_status status)
{
    walk->status = status;
    return NULL;
}

static const uint8_t *skip_space(const uint8_t *at, const uint8_t *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r'))
        at++;
    return at;
}

/*
 * Return the closing quote of the string whose text begins at `begin`; NULL if there is none.
 */
static const uint8_t *string_end(const uint8_t *begin, const uint8_t *end)
{
    const uint8_t *at = begin;
    const uint8_t *near = end - begin < SHORT_TEXT ? end : begin + SHORT_TEXT;

    for (; at < near && *at != '\\'; at++) {
        if (*at == '"')
            return at;
    }
    while (at < end) {
        const uint8_t *quote = memchr(at, '"', (size_t)(end - at));
        const uint8_t *slash = quote;

        if (quote == NULL)
            return NULL;
        while (slash > begin && slash[-1] == '\\')
            slash--;
        if ((quote - slash) % 2 == 0)
            return quote;
        at = quote + 1;
    }
    return NULL;
}

/* Return the closing quote of a key; NULL if there is none or the key contains an escape. */
static const uint8_t *key_end(const uint8_t *at, const uint8_t *end)
{
    for (; at < end && *at != '\\'; at++) {
        if (*at == '"')
            return at;
    }
    return NULL;
}

/* Return the end of a number, true, false or null; NULL if there is no such value. */
static const uint8_t *skip_word(const uint8_t *begin, const uint8_t *end)
{
    const uint8_t *at = begin;

    while (at < end && *at > ' ' && *at != ',' && *at != '}' && *at != ']')
        at++;
    return at > begin ? at : NULL;
}

/* Return whether a byte is '[' or '{', which differ by one bit. */
static int is_opening(uint8_t byte)
{
    return (byte | 0x20) == '{';
}

static int is_closing(uint8_t byte)
{
    return (byte | 0x20) == '}';
}

/* Return the end of a value. Brackets and braces are counted together, not matched by kind. */
static const uint8_t *skip_value(const uint8_t *at, const uint8_t *end)
{
    size_t depth = 0;

    while (at < end) {
        if (*at == '"') {
            at = string_end(at + 1, end);
            if (at == NULL)
                return NULL;
        } else if (is_opening(*at)) {
            depth++;
        } else if (is_closing(*at)) {
            if (depth == 0)
                return NULL;
            depth--;
        } else if (depth == 0) {
            return skip_word(at, end);
        }
        at++;
        if (depth == 0)
            return at;
        while (at < end && *at != '"' && !is_opening(*at) && !is_closing(*at))
            at++;
    }
    return NULL;
}

/* ---- audio ------------------------------------------------------------------------------- */

/* decode_bytes and decode_floats return the end of the base64 text; NULL on failure. */
static const uint8_t *decode_bytes(struct walk *walk, const uint8_t *at)
{
    size_t text_bytes = (size_t)(walk->end - at);
    struct iwp_base64_span span =
        iwp_base64_decode_until(walk->dst, walk->dst_bytes, at, text_bytes);

    walk->audio_bytes = span.written_bytes;
    return at + span.read_bytes;
}

static const uint8_t *decode_floats(struct walk *walk, const uint8_t *at)
{
    uint8_t block[BLOCK_BYTES];
    size_t written = 0;

    for (;;) {
        size_t left = (size_t)(walk->end - at);
        size_t taken = left < BLOCK_CHARACTERS ? left : BLOCK_CHARACTERS;
        struct iwp_base64_span span = iwp_base64_decode_until(block, sizeof block, at, taken);

        if (span.written_bytes % 2 != 0)
            return give_up(walk, IW_NOT_PLAIN);
        if (span.written_bytes * 2 > walk->dst_bytes - written) {
            return give_up(walk, IW_NO_ROOM);
        }
        iwp_kernels_active()->pcm_f32_from_s16(walk->dst + written, block,
                                               span.written_bytes / 2);
        written += span.written_bytes * 2;
        at += span.read_bytes;
        /* Padding ends the text: the next block does not belong to the text. */
        if (span.read_bytes < BLOCK_CHARACTERS || at[-1] == '=')
            break;
    }
    walk->audio_bytes = written;
    return at;
}

/* Decode the audio whose text begins at `begin`. Returns the byte after its closing quote. */
static const uint8_t *take_audio(struct walk *walk, const uint8_t *begin)
{
    const uint8_t *at =
        walk->form == IW_SPLIT_F32 ? decode_floats(walk, begin) : decode_bytes(walk, begin);

    if (at == NULL)
        return NULL;
    /*
     * The base64 text must end at the closing quote. Otherwise the text contains an escape, is
     * invalid, or is too long for dst.
     */
    if (at >= walk->end || *at != '"') {
        const uint8_t *quote = string_end(begin, walk->end);
        int is_short = quote != NULL && (size_t)(quote - begin) / 4 * 3 > walk->dst_bytes;
        return give_up(walk, is_short ? IW_NO_ROOM : IW_NOT_PLAIN);
    }
    walk->spans[0].offset_bytes = (size_t)(begin - walk->src);
    walk->spans[0].size_bytes = (size_t)(at - begin);
    walk->spans[0].kind = IW_SPLIT_TEXT;
    walk->cut_bytes = (size_t)(at - begin);
    return at + 1;
}

/* ---- the walk ---------------------------------------------------------------------------- */

static const uint8_t *take_span(struct walk *walk, unsigned path, const uint8_t *begin)
{
    struct iw_split_span *span = &walk->spans[path];
    const uint8_t *end = skip_value(begin, walk->end);
    size_t inner;

    if (end == NULL)
        return give_up(walk, IW_NOT_PLAIN);
    inner = (size_t)(end - begin);
    span->offset_bytes = (size_t)(begin - walk->src) - walk->cut_bytes;
    span->size_bytes = inner;
    if (*begin == '"') {
        if (memchr(begin, '\\', inner) != NULL) {
            span->kind = IW_SPLIT_OTHER;
        } else {
            span->kind = IW_SPLIT_TEXT;
            span->offset_bytes++;
            span->size_bytes -= 2;
        }
    } else {
        span->kind = *begin == '{' || *begin == '[' ? IW_SPLIT_OTHER : IW_SPLIT_LITERAL;
    }
    return end;
}

/* Return the paths of `live` that have this key at this depth, as bits. */
static unsigned match_key(const struct iw_split_plan *plan, unsigned live, unsigned depth,
                          const uint8_t *key, size_t bytes)
{
    unsigned found = 0;

    for (unsigned path = 0; path < plan->path_count; path++) {
        const struct key *wanted = &plan->keys[path][depth];
        if ((live >> path & 1) != 0 && depth < plan->depth[path] && wanted->bytes == bytes &&
            memcmp(plan->text + wanted->offset, key, bytes) == 0) {
            found |= 1u << path;
        }
    }
    return found;
}

static const uint8_t *walk_object(struct walk *walk, const uint8_t *at, unsigned live,
                                  unsigned depth);

/*
 * Read a value whose key matched. `found` has the paths that match. If a path ends here, the
 * other paths find nothing, because they would need an object here.
 */
static const uint8_t *walk_value(struct walk *walk, const uint8_t *at, unsigned found,
                                 unsigned depth)
{
    const struct iw_split_plan *plan = walk->plan;

    if ((walk->seen[depth] & found) != 0)
        return give_up(walk, IW_NOT_PLAIN);
    walk->seen[depth] |= found;
    for (unsigned path = 0; path < plan->path_count; path++) {
        if ((found >> path & 1) == 0 || plan->depth[path] != depth + 1)
            continue;
        if (path == 0 && *at == '"')
            return take_audio(walk, at + 1);
        return take_span(walk, path, at);
    }
    if (*at == '{')
        return walk_object(walk, at, found, depth + 1);
    at = skip_value(at, walk->end);
    return at != NULL ? at : give_up(walk, IW_NOT_PLAIN);
}

/*
 * Read an object from '{' on. Returns the byte after its '}'. The recursion is limited, because
 * a path has at most IW_SPLIT_MAX_DEPTH keys.
 */
static const uint8_t *walk_object(struct walk *walk, const uint8_t *at, unsigned live,
                                  unsigned depth)
{
    const uint8_t *end = walk->end;

    at = skip_space(at + 1, end);
    if (at < end && *at == '}')
        return at + 1;
    while (at < end && *at == '"') {
        const uint8_t *key = at + 1;
        const uint8_t *quote = key_end(key, end);
        unsigned found;

        if (quote == NULL)
            break;
        at = skip_space(quote + 1, end);
        if (at >= end || *at != ':')
            break;
        at = skip_space(at + 1, end);
        if (at >= end)
            break;
        found = match_key(walk->plan, live, depth, key, (size_t)(quote - key));
        at = found != 0 ? walk_value(walk, at, found, depth) : skip_value(at, end);
        if (at == NULL)
            break;
        at = skip_space(at, end);
        if (at < end && *at == '}')
            return at + 1;
        if (at >= end || *at != ',')
            break;
        at = skip_space(at + 1, end);
    }
    return give_up(walk, walk->status == IW_OK ? IW_NOT_PLAIN : walk->status);
}

ptrdiff_t iw_split_message(uint8_t *dst, size_t dst_bytes, struct iw_split_result *result,
                           const struct iw_split_plan *plan, const uint8_t *src,
                           size_t src_bytes, int form)
{
    struct iw_split_result unused;
    struct walk walk = {.plan = plan,
                        .src = src,
                        .end = src + src_bytes,
                        .dst = dst,
                        .dst_bytes = dst_bytes,
                        .spans = result != NULL ? result->spans : unused.spans,
                        .form = form};
    const uint8_t *at = skip_space(src, walk.end);

    if (form != IW_SPLIT_BYTES && form != IW_SPLIT_F32)
        return IW_BAD_ARGUMENT;
    for (unsigned path = 0; path < plan->path_count; path++)
        walk.spans[path] = (struct iw_split_span){0, 0, IW_SPLIT_ABSENT};
    if (at >= walk.end || *at != '{')
        return IW_NOT_PLAIN;
    at = walk_object(&walk, at, (1u << plan->path_count) - 1u, 0);
    if (at == NULL)
        return walk.status;
    return skip_space(at, walk.end) == walk.end ? (ptrdiff_t)walk.audio_bytes : IW_NOT_PLAIN;
}
