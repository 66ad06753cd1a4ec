/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
 *
 * What 16 bytes of address say of themselves.
 */
#ifndef DSRLB_XDP_ADDRESS_H
#define DSRLB_XDP_ADDRESS_H

#include "hash.h"

static ALWAYS_INLINE int is_same_address(const struct address *one, const struct address *other)
{
    return one->half[0] == other->half[0] && one->half[1] == other->half[1];
}

static ALWAYS_INLINE int is_zero(const struct address *address)
{
    return address->half[0] == 0 && address->half[1] == 0;
}

/* Whether it stands for an IPv4 address. */
static ALWAYS_INLINE int is_mapped(const struct address *address)
{
    return address->half[0] == 0 && address->word[2] == MAPPED;
}

#endif
