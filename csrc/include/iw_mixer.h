/*
 * Several playouts into one device, and what of each is heard when. Included by playout/ and
 * device/, and read by build_ffi.py as iw_api.h is, whose rules hold here too.
 */
#ifndef IW_MIXER_H
#define IW_MIXER_H

#include "include/iw_playout.h"

/* cffi: begin */

/*
 * What of one playout is heard when. The consumer of its mixer writes it; anybody may read.
 */
struct iw_track;

/* IW_BAD_ARGUMENT: the rate of what is pulled is not 8000 to 48000. */
enum iw_status iw_track_create(struct iw_track **track, uint32_t sample_rate_hz);

/* Free it. NULL is allowed. Its mixer must have let it go. */
void iw_track_destroy(struct iw_track *track);

/*
 * Source frames that are heard by `now_ns`: pulled, and past the device's latency. What a clear
 * dropped is not counted. It may step back a little where the device corrects its latency.
 */
uint64_t iw_track_heard(const struct iw_track *track, uint64_t now_ns);

/* Up to which position of the playout's stream it is heard; 0 before the first sound. */
int64_t iw_track_position(const struct iw_track *track, uint64_t now_ns);

/* Source frames that were pulled, heard or about to be. */
uint64_t iw_track_taken(const struct iw_track *track);

/*
 * A voice, a back-channel, short signals: the sum of several playouts. They have the rate and
 * the channels of the mixer and give IW_PLAYOUT_F32.
 *
 * The mixer's consumer is the consumer of its playouts. All other calls must be serialized.
 */
struct iw_mixer;

enum iw_mixer_limit {
    IW_MIXER_VOICES = 8 /* playouts at a time */
};

struct iw_mixer_config {
    uint32_t sample_rate_hz; /* 8000 to 48000, of the playouts and of what is pulled */
    uint32_t channels;       /* 1 or 2, the same */
    uint32_t output_format;  /* enum iw_playout_format, of what is pulled */
    uint32_t attack_ms;      /* a voice gets softer within it; 1 to 10000 */
    uint32_t release_ms;     /* and louder within it; 1 to 10000 */
    uint32_t hold_ms;        /* a voice that pauses so long still ducks others; 0 to 10000 */
};

/* IW_BAD_ARGUMENT: a field is out of its range. */
enum iw_status iw_mixer_create(struct iw_mixer **mixer, const struct iw_mixer_config *config);

/* Free it; its playouts stay. NULL is allowed. No other call may be under way. */
void iw_mixer_destroy(struct iw_mixer *mixer);

/*
 * Put a playout into a place, or NULL to empty it; see iw_mixer_turn.
 *
 * track        NULL, or one that was made for this playout and is in no other place
 */
enum iw_status iw_mixer_set(struct iw_mixer *mixer, size_t voice, struct iw_playout *playout,
                            struct iw_track *track);

/*
 * How loud a voice is. A change is a straight ramp of attack_ms or release_ms.
 *
 * gain         0 to 4
 * ducked_gain  0 to 1, a factor while a voice of a higher priority sounds, and hold_ms longer
 */
enum iw_status iw_mixer_adjust(struct iw_mixer *mixer, size_t voice, double gain,
                               double ducked_gain, uint32_t priority);

/*
 * Whether a playout that was taken out is still being pulled: not if this is even; if it is
 * odd, until the number has changed.
 */
uint64_t iw_mixer_turn(struct iw_mixer *mixer);

/*
 * As iw_playout_pull, of the sum of all voices, held in [-1, 1]; the tracks take it as heard at
 * `now_ns`. Consumer.
 */
size_t iw_mixer_pull(struct iw_mixer *mixer, uint8_t *out, size_t frames, uint64_t now_ns);

/* cffi: end */

#endif
