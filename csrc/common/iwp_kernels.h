/* The row of kernels of each level, and the choice among them. Included by <area>/<area>.c. */
#ifndef IWP_KERNELS_H
#define IWP_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* One constant row a level. A row names a lower level's kernel where it has none of its own. */
struct iwp_kernels {
    int level; /* enum iw_level */
};

/* The row in use. One atomic load; never NULL. */
const struct iwp_kernels *iwp_kernels_active(void);

#endif
