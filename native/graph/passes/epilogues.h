#pragma once
#include "graph/graph.h"
#include "graph/passes/product_form.h"
#include "op/define.h"

namespace anneal::passes {

/// An operation and the chain of elementwise ones that reads its (a NormAfter's: its norm's) first result. Inputs:
/// those of the operation, then the others of the chain. Outputs: those of the chain, then the others of the operation.
struct WithEpilogue {
  const Row* row = nullptr;  // the operation
  AttrsRef attrs;
  size_t inputs = 0;                             // of the operation
  int64_t width = 0;                             // of the matrix that it makes block by block
  cpu::Chain chain;                              // register 0 is the result
  std::optional<ProductForm> form;               // of the chain, if the operation is a GPU's product
  mutable std::shared_ptr<const void> prepared;  // as that of Joined
};
extern const Op<WithEpilogue> withEpilogue;

/// Whether it is a product of matrices.
bool isProduct(const Operation& op);

}  // namespace anneal::passes
