/*
 * A track: which part of one playout is heard at which time.
 *
 * Only the consumer writes to a track. The consumer does not wait for a reader, so it may
 * overwrite stretches while a reader looks at them. The reader sees this from `noted` and reads
 * again.
 */
#include <stdlib.h>

#include "common/iwp_atomic.h"
#include "playout/iwp_conceal.h"
#include "playout/iwp_mixer.h"

#define NS_PER_S 1e9

enum {
    HISTORY = 1024,         /* the count of stretches in the history; a power of two */
    LOOK_BACK = HISTORY / 2 /* the largest number of stretches that a reader looks at */
};

/* A stretch: consecutive frames of output, and their source frames. */
struct stretch {
    struct iwp_word begin_ns;
    struct iwp_word frames;
    struct iwp_word source;   /* the count of source frames before the stretch */
    struct iwp_word position; /* of the first source frame of the stretch */
    struct iwp_word source_frames;
};

/*
 * A point of a track. `frames` counts heard frames. `position` also counts dropped frames.
 */
struct place {
    uint64_t frames;
    uint64_t position;
};

struct iw_track {
    double ns_per_frame;
    struct iwp_word noted; /* the count of stretches so far */
    struct iwp_word taken; /* the count of source frames so far */
    uint64_t end;          /* the position after these frames; used by the consumer only */
    struct stretch history[HISTORY];
};

enum iw_status iw_track_create(struct iw_track **made, uint32_t sample_rate_hz)
{
    struct iw_track *track;

    if (sample_rate_hz < 8000 || sample_rate_hz > IWP_RATE_MAX_HZ)
        return IW_BAD_ARGUMENT;
    track = calloc(1, sizeof *track);
    if (track == NULL)
        return IW_NO_MEMORY;
    track->ns_per_frame = NS_PER_S / sample_rate_hz;
    *made = track;
    return IW_OK;
}

void iw_track_destroy(struct iw_track *track)
{
    free(track);
}

static uint64_t ns_of(const struct iw_track *track, uint64_t frames)
{
    return (uint64_t)((double)frames * track->ns_per_frame);
}

static void note(struct iw_track *track, uint64_t begin_ns, const struct iw_playout_part *part)
{
    uint64_t noted = iwp_load(&track->noted);
    uint64_t taken = iwp_load(&track->taken);
    struct stretch *stretch = &track->history[noted % HISTORY];

    /* A part without source frames does not change the position. */
    if (part->source_frames > 0)
        track->end = (uint64_t)part->position;
    iwp_store(&stretch->begin_ns, begin_ns);
    iwp_store(&stretch->frames, part->output_frames);
    iwp_store(&stretch->source, taken);
    iwp_store(&stretch->position, track->end);
    iwp_store(&stretch->source_frames, part->source_frames);
    track->end += part->source_frames;
    /* Store `taken` first, so that a reader never sees more heard frames than taken frames. */
    iwp_store(&track->taken, taken + part->source_frames);
    iwp_store(&track->noted, noted + 1);
}

void iwp_track_note(struct iw_track *track, const struct iw_playout_part *parts, size_t count,
                    uint64_t heard_ns)
{
    uint64_t before = 0;

    for (size_t i = 0; i < count; i++) {
        note(track, heard_ns + ns_of(track, before), &parts[i]);
        before += parts[i].output_frames;
    }
}

/* Return the point that is heard at `now_ns`, from the first `noted` stretches. */
static struct place look(const struct iw_track *track, uint64_t noted, uint64_t now_ns)
{
    uint64_t oldest = noted > LOOK_BACK ? noted - LOOK_BACK : 0;
    struct place place = {0, 0};

    for (uint64_t at = noted; at > oldest; at--) {
        const struct stretch *stretch = &track->history[(at - 1) % HISTORY];
        uint64_t begin_ns = iwp_load(&stretch->begin_ns);
        uint64_t length_ns = ns_of(track, iwp_load(&stretch->frames));
        uint64_t heard = iwp_load(&stretch->source_frames);

        place.frames = iwp_load(&stretch->source);
        place.position = iwp_load(&stretch->position);
        if (now_ns < begin_ns)
            continue;
        if (now_ns - begin_ns < length_ns)
            heard = (uint64_t)((double)(now_ns - begin_ns) / (double)length_ns * (double)heard);
        place.frames += heard;
        place.position += heard;
        return place;
    }
    return place;
}

static struct place place_at(const struct iw_track *track, uint64_t now_ns)
{
    struct place place;
    uint64_t noted;

    do {
        noted = iwp_load(&track->noted);
        place = look(track, noted, now_ns);
    } while (iwp_load(&track->noted) - noted >= HISTORY - LOOK_BACK);
    return place;
}

uint64_t iw_track_heard(const struct iw_track *track, uint64_t now_ns)
{
    return place_at(track, now_ns).frames;
}

int64_t iw_track_position(const struct iw_track *track, uint64_t now_ns)
{
    return (int64_t)place_at(track, now_ns).position;
}

uint64_t iw_track_taken(const struct iw_track *track)
{
    return iwp_load(&track->taken);
}
