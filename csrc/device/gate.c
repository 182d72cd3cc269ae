/* The gate: a speaker writes the time when its audio will end. A microphone reads this time. */
#include <stdlib.h>

#include "device/iwp_gate.h"
#include "include/iw_device.h"

enum iw_status iw_gate_create(struct iw_gate **gate)
{
    *gate = calloc(1, sizeof **gate);
    return *gate == NULL ? IW_NO_MEMORY : IW_OK;
}

void iw_gate_destroy(struct iw_gate *gate)
{
    free(gate);
}
