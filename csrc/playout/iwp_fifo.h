/*
 * Output that was made but not pulled yet, with its source positions. Included by the playout's
 * files.
 *
 * Time scaling makes whole periods, but a device pulls any number of frames. The fifo keeps the
 * frames that were not pulled yet. Only the consumer may use a fifo. Nothing here allocates
 * memory.
 */
#ifndef IWP_FIFO_H
#define IWP_FIFO_H

#include <stddef.h>
#include <stdint.h>

#include "include/iw_playout.h"
#include "playout/iwp_conceal.h"

enum {
    /* One block of 10 ms, and one inserted or merged period of 15 ms. */
    IWP_BLOCK_FRAMES_MAX = IWP_RATE_MAX_HZ / 100,
    IWP_FIFO_FRAMES = IWP_BLOCK_FRAMES_MAX + IWP_LAG_FRAMES_MAX,
    IWP_FIFO_PARTS = 32
};

struct iwp_fifo {
    size_t channels;
    size_t frames;
    size_t count; /* of parts */
    struct iw_playout_part parts[IWP_FIFO_PARTS];
    float samples[IWP_FIFO_FRAMES * IWP_CHANNELS_MAX];
};

/* Return whether another part of at most IWP_LAG_FRAMES_MAX frames fits. */
int iwp_fifo_has_room(const struct iwp_fifo *fifo);

/* Return where to write the samples of the next part. Then call iwp_fifo_add. */
float *iwp_fifo_end(struct iwp_fifo *fifo);

/*
 * Append the `part.output_frames` frames that were written at iwp_fifo_end. A new part is
 * joined with the last part if the new part continues the last part, has the same kind and is
 * not stretched.
 */
void iwp_fifo_add(struct iwp_fifo *fifo, struct iw_playout_part part);

/* Append a part to an array, joined as in iwp_fifo_add. Returns 0 if the array is full. */
int iwp_parts_append(struct iw_playout_part *parts, size_t *count, size_t capacity,
                     struct iw_playout_part part);

/*
 * Remove `frames` frames, at most fifo->frames, from the front. `take` is called in order for
 * each part or piece of a part, with the samples. For example, if a piece has a third of a
 * stretched part's output frames, it also has a third of the part's source frames.
 */
typedef void iwp_fifo_take(void *context, const float *samples, struct iw_playout_part piece);
void iwp_fifo_pop(struct iwp_fifo *fifo, size_t frames, iwp_fifo_take *take, void *context);

#endif
