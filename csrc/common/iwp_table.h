/*
 * Macros for tables that the compiler fills. IWP_TABLE_256(of) expands to an initializer list:
 * of(0), of(1), ... of(255). Included by files that have tables.
 */
#ifndef IWP_TABLE_H
#define IWP_TABLE_H

#define IWP_TABLE_4(of, at) of(at), of((at) + 1), of((at) + 2), of((at) + 3)
#define IWP_TABLE_16(of, at)                                                                   \
    IWP_TABLE_4(of, at), IWP_TABLE_4(of, (at) + 4), IWP_TABLE_4(of, (at) + 8),                 \
        IWP_TABLE_4(of, (at) + 12)
#define IWP_TABLE_64(of, at)                                                                   \
    IWP_TABLE_16(of, at), IWP_TABLE_16(of, (at) + 16), IWP_TABLE_16(of, (at) + 32),            \
        IWP_TABLE_16(of, (at) + 48)
#define IWP_TABLE_256_FROM(of, at)                                                             \
    IWP_TABLE_64(of, at), IWP_TABLE_64(of, (at) + 64), IWP_TABLE_64(of, (at) + 128),           \
        IWP_TABLE_64(of, (at) + 192)
#define IWP_TABLE_1024(of, at)                                                                 \
    IWP_TABLE_256_FROM(of, at), IWP_TABLE_256_FROM(of, (at) + 256),                            \
        IWP_TABLE_256_FROM(of, (at) + 512), IWP_TABLE_256_FROM(of, (at) + 768)

#define IWP_TABLE_256(of) IWP_TABLE_256_FROM(of, 0)
#define IWP_TABLE_4096(of)                                                                     \
    IWP_TABLE_1024(of, 0), IWP_TABLE_1024(of, 1024), IWP_TABLE_1024(of, 2048),                 \
        IWP_TABLE_1024(of, 3072)

#endif
