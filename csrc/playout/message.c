/* The audio of a message, decoded where it is played from. The producer. */
#include <string.h>

#include "include/iw_message.h"
#include "playout/iwp_playout.h"

/* Whether the first pick in the text of iw_split_parts, which a zero ends, is this. */
static bool is_named(const uint8_t *text, const uint8_t *name, size_t name_bytes)
{
    const char *before = strchr((const char *)text, IW_SPLIT_BETWEEN);
    const char *behind = before == NULL ? NULL : strchr(before + 1, IW_SPLIT_BETWEEN);

    /* Behind the last pick stands one part more. */
    return behind != NULL && (size_t)(behind - before - 1) == name_bytes &&
           before[1] != IW_SPLIT_NOTHING && memcmp(before + 1, name, name_bytes) == 0;
}

ptrdiff_t iw_playout_push_message(struct iw_playout *playout, const struct iw_split_room *room,
                                  const struct iw_split_plan *plan, const uint8_t *src,
                                  size_t src_bytes, uint64_t item, uint32_t flags,
                                  uint64_t now_ns, const uint8_t *name, size_t name_bytes)
{
    bool floats = playout->config.input_format == IW_PLAYOUT_F32;
    size_t frame_bytes = playout->input_frame_bytes;
    /* Of four characters come three bytes, which are six as floats. */
    size_t most_bytes = floats ? src_bytes / 4 * 6 + 6 : src_bytes / 4 * 3 + 3;
    struct iw_split_room place = *room;
    enum iw_status status;
    ptrdiff_t audio_bytes;

    status = iw_playout_reserve(playout, &place.audio, most_bytes / frame_bytes + 1);
    if (status != IW_OK)
        return status;
    place.audio_bytes = most_bytes;
    audio_bytes =
        iw_split_parts(&place, plan, src, src_bytes, floats ? IW_SPLIT_F32 : IW_SPLIT_BYTES);
    if (audio_bytes < 0)
        return audio_bytes;
    if ((size_t)audio_bytes % frame_bytes != 0)
        return IW_NOT_PLAIN;
    if (name != NULL && !is_named(room->text, name, name_bytes))
        return IW_NO_AUDIO;
    status = iw_playout_commit(playout, (size_t)audio_bytes / frame_bytes, item, flags, now_ns);
    return status == IW_OK ? audio_bytes : (ptrdiff_t)status;
}
