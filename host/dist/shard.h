/**
 * Who owns what: items (sampler steps, samples, pieces of a sum) dealt to the ranks of a group.
 *
 *   group g holds the items g*group .. g*group + group - 1, the last one what is left
 *   BLOCKS  rank r owns groups_r neighbouring groups; the first (groups mod size) ranks one more than the others
 *   ROUND   rank r owns the groups r, r + size, r + 2 size, ...
 *
 * A function of these four numbers alone, so that no rank has to ask another one. All ranks own as many groups,
 * but for one. The items of a rank ascend. Where results are joined in the order of the items (sum.h) neither the
 * kind nor the number of ranks changes a bit of them.
 */
#ifndef DMQ_DIST_SHARD_H
#define DMQ_DIST_SHARD_H

typedef enum dmq_deal_kind { DMQ_DEAL_BLOCKS, DMQ_DEAL_ROUND } dmq_deal_kind;

typedef struct dmq_deal {
    int n;     /**< items, >= 0 */
    int size;  /**< ranks, > 0; may be more than items */
    int group; /**< neighbouring items that stay together; 0: 1 */
    dmq_deal_kind kind;
} dmq_deal;

/** Items of a rank. */
int dmq_deal_count(const dmq_deal *deal, int rank);

/** The largest count of all ranks. */
int dmq_deal_most(const dmq_deal *deal);

/** Item i of a rank, 0 <= i < count. */
int dmq_deal_item(const dmq_deal *deal, int rank, int i);

/** The rank that owns an item; *i (may be NULL) is its place there: dmq_deal_item(deal, rank, *i) is the item. */
int dmq_deal_owner(int *i, const dmq_deal *deal, int item);

#endif
