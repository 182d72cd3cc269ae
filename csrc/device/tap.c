/*
 * A tap: the last samples that speakers have played, with the time of each block.
 *
 * The device's thread overwrites the oldest samples and does not wait for a reader. A reader
 * gets samples of the newer half of the ring only, so the writer cannot overtake it during a
 * copy.
 */
#include <stdlib.h>
#include <string.h>

#include "device/iwp_tap.h"
#include "device/iwp_timeline.h"

#define CAPACITY_MAX ((size_t)1 << 26)

struct iw_tap {
    size_t capacity_samples; /* a power of two */
    struct iwp_word written; /* samples since the start */
    struct iwp_timeline timeline;
    int16_t ring[];
};

enum iw_status iw_tap_create(struct iw_tap **made, size_t held_samples)
{
    struct iw_tap *tap;
    size_t capacity = 2;

    if (held_samples == 0 || held_samples > CAPACITY_MAX / 2)
        return IW_BAD_ARGUMENT;
    while (capacity < 2 * held_samples)
        capacity *= 2;
    tap = calloc(1, sizeof *tap + capacity * sizeof *tap->ring);
    if (tap == NULL)
        return IW_NO_MEMORY;
    tap->capacity_samples = capacity;
    *made = tap;
    return IW_OK;
}

void iw_tap_destroy(struct iw_tap *tap)
{
    free(tap);
}

void iwp_tap_put(struct iw_tap *tap, const uint8_t *samples, size_t count, uint64_t time_ns,
                 int broken, int new_device)
{
    uint64_t written = iwp_load(&tap->written);

    iwp_timeline_note(&tap->timeline, written, time_ns, broken, new_device);
    while (count > 0) {
        size_t start = (size_t)written & (tap->capacity_samples - 1);
        size_t room = tap->capacity_samples - start;
        size_t piece = count < room ? count : room;

        memcpy(tap->ring + start, samples, piece * sizeof *tap->ring);
        samples += piece * sizeof *tap->ring;
        written += piece;
        count -= piece;
    }
    iwp_store(&tap->written, written);
}

uint64_t iw_tap_end(const struct iw_tap *tap)
{
    return iwp_load(&tap->written);
}

size_t iw_tap_read(const struct iw_tap *tap, uint64_t *position, uint8_t *out, size_t samples)
{
    uint64_t written = iwp_load(&tap->written);
    uint64_t held = tap->capacity_samples / 2;
    uint64_t from = *position < written ? *position : written;
    size_t taken;

    if (written - from > held)
        from = written - held;
    taken = written - from < samples ? (size_t)(written - from) : samples;
    *position = from;
    for (size_t done = 0; done < taken;) {
        size_t start = (size_t)(from + done) & (tap->capacity_samples - 1);
        size_t room = tap->capacity_samples - start;
        size_t piece = taken - done < room ? taken - done : room;

        memcpy(out + done * sizeof *tap->ring, tap->ring + start, piece * sizeof *tap->ring);
        done += piece;
    }
    return taken;
}

size_t iw_tap_blocks(const struct iw_tap *tap, uint64_t *next, struct iw_block *out,
                     size_t most)
{
    return iwp_timeline_read(&tap->timeline, next, out, most);
}
