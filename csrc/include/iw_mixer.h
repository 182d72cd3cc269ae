/*
 * Mixers and tracks. A mixer adds several playouts for one device. A track records which part
 * of a playout is heard at which time. Included by playout/ and device/, and read by
 * build_ffi.py. The rules of iw_api.h hold here too.
 */
#ifndef IW_MIXER_H
#define IW_MIXER_H

#include "include/iw_playout.h"

/* cffi: begin */

/*
 * Records which part of one playout is heard at which time. The consumer of the mixer writes to
 * the track. Any thread may read the track.
 */
struct iw_track;

/* Create a track. IW_BAD_ARGUMENT: the sample rate of the output is not 8000 to 48000. */
enum iw_status iw_track_create(struct iw_track **track, uint32_t sample_rate_hz);

/* Free a track. NULL is allowed. Remove the track from the mixer first (iw_mixer_set). */
void iw_track_destroy(struct iw_track *track);

/*
 * Return the count of source frames that are heard before `now_ns`. A frame is heard when it
 * was pulled and the latency of the device has passed. Frames that a clear dropped are not
 * counted. The count can become a little smaller when the device corrects its latency.
 */
uint64_t iw_track_heard(const struct iw_track *track, uint64_t now_ns);

/* Return the position in the playout's stream that is heard at `now_ns`; 0 before any audio. */
int64_t iw_track_position(const struct iw_track *track, uint64_t now_ns);

/* Return the count of pulled source frames, including the frames that are not heard yet. */
uint64_t iw_track_taken(const struct iw_track *track);

/*
 * The sum of several playouts, for example of two speakers and of short signals. The playouts
 * must have the sample rate and the channels of the mixer, and the output format
 * IW_PLAYOUT_F32. A mixer has IW_MIXER_VOICES voices. A voice has one playout or none.
 *
 * The consumer of the mixer is the consumer of its playouts. All other calls must be
 * serialized.
 */
struct iw_mixer;

enum iw_mixer_limit {
    IW_MIXER_VOICES = 8 /* the limit of playouts at a time */
};

struct iw_mixer_config {
    uint32_t sample_rate_hz; /* of the playouts and the output; 8000 to 48000 */
    uint32_t channels;       /* of the playouts and the output; 1 or 2 */
    uint32_t output_format;  /* enum iw_playout_format */
    uint32_t attack_ms;      /* how long a gain takes to go down; 1 to 10000 */
    uint32_t release_ms;     /* how long a gain takes to go up; 1 to 10000 */
    uint32_t hold_ms;        /* how long a voice ducks others after its audio; 0 to 10000 */
};

/* Create a mixer. IW_BAD_ARGUMENT: a field is out of its range. */
enum iw_status iw_mixer_create(struct iw_mixer **mixer, const struct iw_mixer_config *config);

/* Free a mixer, but not its playouts. NULL is allowed. No other call may be running. */
void iw_mixer_destroy(struct iw_mixer *mixer);

/*
 * Set the playout of a voice, or remove the playout with NULL. The consumer may still pull from
 * a removed playout for a moment: see iw_mixer_turn.
 *
 * track        NULL, or a track that was created for this playout and is in no other voice
 */
enum iw_status iw_mixer_set(struct iw_mixer *mixer, size_t voice, struct iw_playout *playout,
                            struct iw_track *track);

/*
 * Set the gain of a voice. The gain changes in a straight line over attack_ms or release_ms.
 *
 * gain         0 to 4
 * ducked_gain  0 to 1, a factor that is applied while a voice of a higher priority has audio,
 *              and for hold_ms after this audio
 */
enum iw_status iw_mixer_adjust(struct iw_mixer *mixer, size_t voice, double gain,
                               double ducked_gain, uint32_t priority);

/*
 * Return the turn number of the consumer. The number is odd during a pull. Call this function
 * after removing a playout. If the number is even, the consumer no longer uses the playout. If
 * the number is odd, the consumer may use the playout until the number has changed.
 */
uint64_t iw_mixer_turn(struct iw_mixer *mixer);

/*
 * Pull the sum of all voices, limited to [-1, 1]. The arguments and the result are those of
 * iw_playout_pull. The tracks record that the output is heard from `now_ns` on. Consumer only.
 */
size_t iw_mixer_pull(struct iw_mixer *mixer, uint8_t *out, size_t frames, uint64_t now_ns);

/* cffi: end */

#endif
