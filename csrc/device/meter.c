/*
 * A meter: the levels of the last blocks of a device.
 *
 * The writer does not wait for a reader, so it may overwrite blocks while the reader adds them
 * up. The reader sees this from `noted` and reads again.
 */
#include <string.h>

#include "device/iwp_meter.h"

void iwp_meter_note(struct iwp_meter *meter, const uint8_t *samples, size_t count,
                    uint64_t begin_ns, uint64_t end_ns)
{
    uint64_t noted = iwp_load(&meter->noted);
    struct iwp_metered *block = &meter->blocks[noted % IWP_METER_BLOCKS];

    iwp_store(&block->begin_ns, begin_ns);
    iwp_store(&block->end_ns, end_ns);
    iwp_store(&block->samples, count);
    iwp_store(&block->energy, iw_pcm_energy_s16(samples, count));
    iwp_store(&block->peak, iw_pcm_peak_s16(samples, count));
    iwp_store(&meter->noted, noted + 1);
}

/*
 * Add up blocks, from the newest to the oldest. The loop ends at the first block that was over
 * before `from_ns`: the blocks are in the order of time, unless the device has corrected its
 * latency.
 */
static void look(const struct iwp_meter *meter, uint64_t noted, uint64_t from_ns,
                 uint64_t until_ns, struct iw_sound_level *level)
{
    uint64_t oldest = noted > IWP_METER_LOOK_BACK ? noted - IWP_METER_LOOK_BACK : 0;

    memset(level, 0, sizeof *level);
    for (uint64_t at = noted; at > oldest; at--) {
        const struct iwp_metered *block = &meter->blocks[(at - 1) % IWP_METER_BLOCKS];
        uint32_t peak = (uint32_t)iwp_load(&block->peak);

        if (iwp_load(&block->begin_ns) >= until_ns)
            continue;
        if (iwp_load(&block->end_ns) <= from_ns)
            return;
        level->samples += iwp_load(&block->samples);
        level->energy += iwp_load(&block->energy);
        level->peak = peak > level->peak ? peak : level->peak;
    }
}

void iwp_meter_read(const struct iwp_meter *meter, uint64_t from_ns, uint64_t until_ns,
                    struct iw_sound_level *level)
{
    uint64_t noted;

    do {
        noted = iwp_load(&meter->noted);
        look(meter, noted, from_ns, until_ns, level);
    } while (iwp_load(&meter->noted) - noted >= IWP_METER_BLOCKS - IWP_METER_LOOK_BACK);
}
