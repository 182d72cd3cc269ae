/* Extracts audio from JSON messages, with the other values as one text. */
#include <string.h>

#include "include/iw_message.h"

static uint8_t *put(uint8_t *dst, const uint8_t *src, size_t bytes)
{
    memcpy(dst, src, bytes);
    return dst + bytes;
}

/* Return whether a text contains a separator of parts, or a zero byte. */
static int has_mark(const uint8_t *text, size_t bytes)
{
    unsigned found = 0;

    for (size_t at = 0; at < bytes; at++)
        found |= text[at] <= IW_SPLIT_NOTHING;
    return found != 0;
}

ptrdiff_t iw_split_parts(const struct iw_split_room *room, const struct iw_split_plan *plan,
                         const uint8_t *src, size_t src_bytes, int form)
{
    struct iw_split_result found;
    const ptrdiff_t audio_bytes =
        iw_split_message(room->audio, room->audio_bytes, &found, plan, src, src_bytes, form);
    const struct iw_split_span *audio = &found.spans[0];
    const uint8_t *const rest = room->text;
    uint8_t *at = room->text;
    size_t before, behind;
    int has_nothing = 0;

    if (audio_bytes < 0)
        return audio_bytes;
    /*
     * The text has the message and the values. Together, the values are shorter than the
     * message, by at least its two braces. Each path after the first, and the last part, needs
     * at most two more bytes: IW_SPLIT_BETWEEN and IW_SPLIT_NOTHING. The zero byte needs one
     * more byte, for which the two bytes of the braces are enough.
     */
    if (src_bytes > room->text_bytes / 2 ||
        room->text_bytes - 2 * src_bytes < 2 * IW_SPLIT_MAX_PATHS) {
        return IW_NO_ROOM;
    }
    before = audio->kind == IW_SPLIT_TEXT ? audio->offset_bytes : src_bytes;
    behind = audio->kind == IW_SPLIT_TEXT ? before + audio->size_bytes : src_bytes;
    at = put(at, src, before);
    at = put(at, src + behind, src_bytes - behind);
    if (has_mark(rest, (size_t)(at - rest)))
        return IW_NOT_PLAIN;
    for (unsigned path = 1; path < iw_split_plan_paths(plan); path++) {
        const struct iw_split_span *span = &found.spans[path];

        *at++ = IW_SPLIT_BETWEEN;
        if (span->kind == IW_SPLIT_TEXT || span->kind == IW_SPLIT_LITERAL) {
            at = put(at, rest + span->offset_bytes, span->size_bytes);
        } else {
            *at++ = IW_SPLIT_NOTHING;
            has_nothing = 1;
        }
    }
    *at++ = IW_SPLIT_BETWEEN;
    if (has_nothing)
        *at++ = IW_SPLIT_NOTHING;
    *at = 0;
    return audio->kind == IW_SPLIT_TEXT ? audio_bytes : IW_NO_AUDIO;
}
