/* Words for results. */
#include "include/iw_api.h"

const char *iw_status_text(int status)
{
    switch (status) {
    case IW_OK: return "success";
    case IW_BAD_ARGUMENT: return "an argument is out of its range";
    case IW_NO_MEMORY: return "out of memory";
    case IW_NO_ROOM: return "the output buffer is too small";
    case IW_UNSUPPORTED: return "not supported by this CPU or build";
    default: return "an unknown status";
    }
}
