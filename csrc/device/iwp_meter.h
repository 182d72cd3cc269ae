/* A meter: the levels of the last blocks of a device. Included by device/ only. */
#ifndef IWP_METER_H
#define IWP_METER_H

#include "common/iwp_atomic.h"
#include "include/iw_device.h"

enum {
    IWP_METER_BLOCKS = 1024,                   /* the size of the ring; a power of two */
    IWP_METER_LOOK_BACK = IWP_METER_BLOCKS / 2 /* how many blocks a reader adds up at most */
};

/* The level of a block, and when the block is heard. */
struct iwp_metered {
    struct iwp_word begin_ns;
    struct iwp_word end_ns;
    struct iwp_word samples;
    struct iwp_word energy;
    struct iwp_word peak;
};

/* Only the device's thread writes to a meter. Any thread may read it. */
struct iwp_meter {
    struct iwp_word noted; /* the count of blocks so far */
    struct iwp_metered blocks[IWP_METER_BLOCKS];
};

/* Add a block of 16-bit samples. Only the device's thread may call this. */
void iwp_meter_note(struct iwp_meter *meter, const uint8_t *samples, size_t count,
                    uint64_t begin_ns, uint64_t end_ns);

/* Add up the blocks that are heard between two times. Any thread may call this. */
void iwp_meter_read(const struct iwp_meter *meter, uint64_t from_ns, uint64_t until_ns,
                    struct iw_sound_level *level);

#endif
