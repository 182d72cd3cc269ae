/*
 * A timeline: the times at which the blocks of a device were captured or are heard.
 *
 * The writer does not wait for a reader. If the writer overwrites blocks while a reader copies
 * them, the reader copies again.
 */
#include "device/iwp_timeline.h"

void iwp_timeline_note(struct iwp_timeline *timeline, uint64_t position, uint64_t time_ns,
                       int broken, int new_device)
{
    uint64_t noted = iwp_load(&timeline->noted);
    struct iwp_timed *block = &timeline->blocks[noted % IWP_TIMELINE_BLOCKS];

    timeline->breaks += broken != 0 || new_device != 0;
    timeline->devices += new_device != 0;
    iwp_store(&block->position, position);
    iwp_store(&block->time_ns, time_ns);
    iwp_store(&block->breaks, timeline->breaks);
    iwp_store(&block->devices, timeline->devices);
    iwp_store(&timeline->noted, noted + 1);
}

size_t iwp_timeline_read(const struct iwp_timeline *timeline, uint64_t *next,
                         struct iw_block *out, size_t most)
{
    uint64_t noted;
    uint64_t from;
    size_t count;

    do {
        noted = iwp_load(&timeline->noted);
        from = *next < noted ? *next : noted;
        if (noted - from > IWP_TIMELINE_LOOK_BACK)
            from = noted - IWP_TIMELINE_LOOK_BACK;
        count = noted - from < most ? (size_t)(noted - from) : most;
        for (size_t i = 0; i < count; i++) {
            const struct iwp_timed *block = &timeline->blocks[(from + i) % IWP_TIMELINE_BLOCKS];

            out[i].position = iwp_load(&block->position);
            out[i].time_ns = iwp_load(&block->time_ns);
            out[i].breaks = iwp_load(&block->breaks);
            out[i].devices = iwp_load(&block->devices);
        }
    } while (iwp_load(&timeline->noted) - from >= IWP_TIMELINE_BLOCKS);
    *next = from + count;
    return count;
}
