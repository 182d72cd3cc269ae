/* What a microphone knows of a speaker. Included by device/ alone. */
#ifndef IWP_GATE_H
#define IWP_GATE_H

#include "common/iwp_atomic.h"

struct iw_gate {
    struct iwp_word until_ns; /* the end of the last sound that the speaker's device took */
};

#endif
