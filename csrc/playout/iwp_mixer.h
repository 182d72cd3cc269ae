/* Functions of the mixer that only C code calls. Included by playout/ and device/. */
#ifndef IWP_MIXER_H
#define IWP_MIXER_H

#include "include/iw_mixer.h"

/* Do the same as iw_mixer_pull. The first frame is heard at `heard_ns`. Consumer only. */
size_t iwp_mixer_pull(struct iw_mixer *mixer, uint8_t *out, size_t frames, uint64_t now_ns,
                      uint64_t heard_ns);

/* Record the parts of a pull. The first frame is heard at `heard_ns`. Consumer only. */
void iwp_track_note(struct iw_track *track, const struct iw_playout_part *parts, size_t count,
                    uint64_t heard_ns);

#endif
