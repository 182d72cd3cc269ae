/* The gate between a speaker and a microphone. Included by device/ only. */
#ifndef IWP_GATE_H
#define IWP_GATE_H

#include "common/iwp_atomic.h"

struct iw_gate {
    struct iwp_word until_ns; /* when the audio that was passed to the speaker will end */
};

#endif
