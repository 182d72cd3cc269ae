/* The gate between a speaker and a microphone. Included by device/ only. */
#ifndef IWP_GATE_H
#define IWP_GATE_H

#include "common/iwp_atomic.h"

struct iw_gate {
    struct iwp_word until_ns; /* when the last audio that the speaker's device took will end */
};

#endif
