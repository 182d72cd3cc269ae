/* How loud a device's last blocks were. Included by device/ alone. */
#ifndef IWP_METER_H
#define IWP_METER_H

#include "common/iwp_atomic.h"
#include "include/iw_device.h"

enum {
    IWP_METER_BLOCKS = 1024,                   /* that are remembered; a power of two */
    IWP_METER_LOOK_BACK = IWP_METER_BLOCKS / 2 /* of them are given */
};

/* A block and when it sounds. */
struct iwp_metered {
    struct iwp_word begin_ns;
    struct iwp_word end_ns;
    struct iwp_word samples;
    struct iwp_word energy;
    struct iwp_word peak;
};

/* Written by the device's thread alone; read by anybody. */
struct iwp_meter {
    struct iwp_word noted; /* blocks */
    struct iwp_metered blocks[IWP_METER_BLOCKS];
};

/* Note a block of 16-bit samples. The device's thread. */
void iwp_meter_note(struct iwp_meter *meter, const uint8_t *samples, size_t count,
                    uint64_t begin_ns, uint64_t end_ns);

/* Add up the blocks that sound between two moments. */
void iwp_meter_read(const struct iwp_meter *meter, uint64_t from_ns, uint64_t until_ns,
                    struct iw_sound_level *level);

#endif
