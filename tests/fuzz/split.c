/*
 * libFuzzer driver: audio in JSON messages, on every level of this machine. A level is a set of
 * instructions, such as AVX2.
 *
 * Invariants for any input:
 * - each level has the same result
 * - the span of the audio is inside the message, and is the strict base64 text of the decoded bytes
 * - the message without the audio has the same values at the other paths
 * - only the arguments are accessed; each argument is in a block of exactly its size
 *
 * The first byte of an input selects the size of the output buffer, from 0 to a little more
 * than needed.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "include/iw_message.h"

static const char paths[] = "result.chunk.audio\0result.id\0result.status.code\0type";
enum { PATHS = 4 };

static const struct iw_split_plan *plan;

static void must(int held)
{
    if (!held)
        abort();
}

/* Copy to a separate block, so that ASan detects an access of one byte beyond the block. */
static uint8_t *block_of(const uint8_t *bytes, size_t size)
{
    uint8_t *block = malloc(size);

    if (block == NULL && size != 0)
        abort();
    if (size != 0 && bytes != NULL)
        memcpy(block, bytes, size);
    return block;
}

/* Check that the base64 text at the span decodes to the audio. */
static void check_audio(const uint8_t *text, size_t size, const uint8_t *audio,
                        size_t audio_bytes, const struct iw_split_result *result)
{
    const struct iw_split_span *const span = &result->spans[0];
    uint8_t *plain;

    if (span->kind != IW_SPLIT_TEXT) {
        must(audio_bytes == 0);
        return;
    }
    must(span->offset_bytes > 0 && span->offset_bytes + span->size_bytes < size);
    must(text[span->offset_bytes - 1] == '"');
    must(text[span->offset_bytes + span->size_bytes] == '"');
    plain = block_of(NULL, span->size_bytes);
    must(iw_base64_decode(plain, span->size_bytes, text + span->offset_bytes,
                          span->size_bytes) == (ptrdiff_t)audio_bytes);
    must(audio_bytes == 0 || memcmp(plain, audio, audio_bytes) == 0);
    free(plain);
}

/* Check that the message without its audio has the same values at the same offsets. */
static void check_rest(const uint8_t *text, size_t size, const struct iw_split_result *result)
{
    const struct iw_split_span *const span = &result->spans[0];
    const size_t cut = span->kind == IW_SPLIT_TEXT ? span->size_bytes : 0;
    const size_t before = cut == 0 ? 0 : span->offset_bytes;
    uint8_t *const rest = block_of(NULL, size - cut);
    uint8_t *const nothing = block_of(NULL, 0);
    struct iw_split_result again;
    size_t path;

    memcpy(rest, text, before);
    memcpy(rest + before, text + before + cut, size - before - cut);
    must(iw_split_message(nothing, 0, &again, plan, rest, size - cut, IW_SPLIT_BYTES) == 0);
    must(again.spans[0].kind == span->kind);
    for (path = 1; path < PATHS; path++) {
        const struct iw_split_span *const pick = &again.spans[path];

        must(memcmp(pick, &result->spans[path], sizeof *pick) == 0);
        must(pick->offset_bytes + pick->size_bytes <= size - cut);
        if (pick->kind == IW_SPLIT_TEXT && pick->size_bytes != 0)
            must(memchr(rest + pick->offset_bytes, '\\', pick->size_bytes) == NULL);
    }
    free(nothing);
    free(rest);
}

/* Check that the floats are the samples of the audio, or that the message is refused. */
static void check_floats(const uint8_t *text, size_t size, const uint8_t *audio,
                         size_t audio_bytes)
{
    uint8_t *const floats = block_of(NULL, 2 * size);
    uint8_t *const expected = block_of(NULL, 2 * audio_bytes);
    const ptrdiff_t written =
        iw_split_message(floats, 2 * size, NULL, plan, text, size, IW_SPLIT_F32);

    must(written == (audio_bytes % 2 == 0 ? (ptrdiff_t)(2 * audio_bytes) : IW_NOT_PLAIN));
    if (written >= 0) {
        iw_pcm_f32_from_s16(expected, audio, audio_bytes / 2);
        must(memcmp(expected, floats, 2 * audio_bytes) == 0);
    }
    free(expected);
    free(floats);
}

static int is_given(const struct iw_split_span *span)
{
    return span->kind == IW_SPLIT_TEXT || span->kind == IW_SPLIT_LITERAL;
}

/* Check the result of iw_split_parts, in buffers of exactly the needed size. */
static void check_parts(const uint8_t *text, size_t size, const uint8_t *audio,
                        size_t audio_bytes, const struct iw_split_result *result)
{
    const struct iw_split_span *const span = &result->spans[0];
    const int has_audio = span->kind == IW_SPLIT_TEXT;
    const size_t cut = has_audio ? span->size_bytes : 0;
    const size_t before = has_audio ? span->offset_bytes : size;
    const size_t room_bytes = 2 * size + 2 * IW_SPLIT_MAX_PATHS;
    struct iw_split_room room = {block_of(NULL, size), size, block_of(NULL, room_bytes),
                                 room_bytes};
    const ptrdiff_t got = iw_split_parts(&room, plan, text, size, IW_SPLIT_BYTES);
    const uint8_t *at = room.text + (size - cut);
    size_t path, given = 0;

    if (got == IW_NOT_PLAIN) {
        for (path = 0; path < size && text[path] > IW_SPLIT_NOTHING; path++)
            ;
        must(path < size);
    } else {
        must(got == (has_audio ? (ptrdiff_t)audio_bytes : IW_NO_AUDIO));
        must(memcmp(room.audio, audio, audio_bytes) == 0);
        must(memcmp(room.text, text, before) == 0);
        must(memcmp(room.text + before, text + before + cut, size - before - cut) == 0);
        for (path = 1; path < PATHS; path++) {
            const struct iw_split_span *const pick = &result->spans[path];

            must(*at++ == IW_SPLIT_BETWEEN);
            if (is_given(pick)) {
                must(memcmp(at, room.text + pick->offset_bytes, pick->size_bytes) == 0);
                at += pick->size_bytes;
                given++;
            } else {
                must(*at++ == IW_SPLIT_NOTHING);
            }
        }
        must(*at++ == IW_SPLIT_BETWEEN);
        must(*at == (given == PATHS - 1 ? 0 : IW_SPLIT_NOTHING));
    }
    room.text_bytes--;
    must(iw_split_parts(&room, plan, text, size, IW_SPLIT_BYTES) == IW_NO_ROOM);
    free(room.text);
    free(room.audio);
}

static ptrdiff_t check(const uint8_t *text, size_t size, size_t room)
{
    uint8_t *const audio = block_of(NULL, size);
    uint8_t *const small = block_of(NULL, room);
    struct iw_split_result result;
    const ptrdiff_t written =
        iw_split_message(audio, size, &result, plan, text, size, IW_SPLIT_BYTES);
    const ptrdiff_t fitted =
        iw_split_message(small, room, NULL, plan, text, size, IW_SPLIT_BYTES);

    if (written >= 0) {
        const size_t audio_bytes = (size_t)written;

        check_audio(text, size, audio, audio_bytes, &result);
        check_rest(text, size, &result);
        check_floats(text, size, audio, audio_bytes);
        check_parts(text, size, audio, audio_bytes, &result);
        must(fitted == (audio_bytes <= room ? written : IW_NO_ROOM));
        must(fitted < 0 || memcmp(audio, small, audio_bytes) == 0);
    } else {
        must(written == IW_NOT_PLAIN);
        must(fitted == IW_NOT_PLAIN || fitted == IW_NO_ROOM);
    }
    free(small);
    free(audio);
    return written;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ptrdiff_t first = IW_BAD_ARGUMENT;
    uint8_t *block;
    int level;

    if (plan == NULL)
        plan = iw_split_plan_create(paths, PATHS);
    if (size == 0 || plan == NULL)
        return 0;
    block = block_of(data + 1, size - 1);
    for (level = 0; level < IW_LEVEL_COUNT; level++) {
        ptrdiff_t written;

        if (iw_level_force(level) != IW_OK)
            continue;
        written = check(block, size - 1, (size - 1) * data[0] / 200);
        must(first == IW_BAD_ARGUMENT || first == written);
        first = written;
    }
    free(block);
    return 0;
}
