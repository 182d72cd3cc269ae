/* A tap: the last samples that speakers have played. Included by device/ only. */
#ifndef IWP_TAP_H
#define IWP_TAP_H

#include "include/iw_device.h"

/*
 * Add a block of 16-bit samples. One device's thread at a time may call this. The arguments are
 * those of iwp_timeline_note.
 */
void iwp_tap_put(struct iw_tap *tap, const uint8_t *samples, size_t count, uint64_t time_ns,
                 int broken, int new_device);

#endif
