/* When the blocks of a device were captured or are heard. Included by device/ only. */
#ifndef IWP_TIMELINE_H
#define IWP_TIMELINE_H

#include "common/iwp_atomic.h"
#include "include/iw_device.h"

enum {
    /* The size of the ring; a power of two. */
    IWP_TIMELINE_BLOCKS = 2048,
    /* A reader gets only the newest blocks, at most this many. */
    IWP_TIMELINE_LOOK_BACK = IWP_TIMELINE_BLOCKS - 1024
};

/* The fields of struct iw_block. */
struct iwp_timed {
    struct iwp_word position;
    struct iwp_word time_ns;
    struct iwp_word breaks;
    struct iwp_word devices;
};

/* Only the device's thread writes to a timeline. Any thread may read it. */
struct iwp_timeline {
    struct iwp_word noted; /* the count of blocks so far */
    uint64_t breaks;
    uint64_t devices;
    struct iwp_timed blocks[IWP_TIMELINE_BLOCKS];
};

/*
 * Add a block. Only the device's thread may call this.
 *
 * broken      whether samples are missing before this block
 * new_device  whether this is the first block of a device
 */
void iwp_timeline_note(struct iwp_timeline *timeline, uint64_t position, uint64_t time_ns,
                       int broken, int new_device);

/* Copy blocks, as iw_tap_blocks does. Any thread may call this. */
size_t iwp_timeline_read(const struct iwp_timeline *timeline, uint64_t *next,
                         struct iw_block *out, size_t most);

#endif
