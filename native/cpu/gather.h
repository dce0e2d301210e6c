#pragma once
#include <string_view>

#include "runtime/task.h"

namespace anneal::cpu {

/// How values are read through an index: `op` is the name for the error that an index outside of `axis` throws.
struct Along {
  std::string_view op;
  int axis;
};

/// out[.., k, ..] = x[.., index[k], ..]
void indexSelect(Along along, const View& x, const View& index, const View& out);
/// out[.., index[k], ..] += source[.., k, ..] in the order of k; positions where index[k] is `skip` are left out.
void indexAdd(Along along, const View& index, const View& source, const View& out, int64_t skip = -1);
/// out[.., j, ..] = x[.., index[.., j, ..], ..]; apart from the axis, `index` may be smaller than `x`.
void gatherAlong(Along along, const View& x, const View& index, const View& out);
/// out[.., index[.., j, ..], ..] = source[.., j, ..], or += it; the last one of several wins.
void scatterAlong(Along along, const View& index, const View& source, const View& out, bool add);
/// out[i][index[i]] = 1 in zeros.
void oneHot(const View& index, const View& out);
/// The places of the elements that are not 0, as many as `out` holds: row-major numbers if `flat`, else one for each
/// axis.
void nonzero(const View& x, bool flat, const View& out);

}  // namespace anneal::cpu
