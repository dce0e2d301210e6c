#pragma once
#include "ops/crossentropy.h"

namespace anneal::ops {

struct Loss {
  LossReduction reduction = LossReduction::Mean;
};
extern const Op<Loss> mseLoss, maeLoss, binaryCrossEntropyWithLogits;

struct HuberLoss {
  double delta = 1;
  LossReduction reduction = LossReduction::Mean;
};
extern const Op<HuberLoss> huberLoss;

struct NllLoss {
  int64_t ignoreIndex = -100;
  LossReduction reduction = LossReduction::Mean;
};
extern const Op<NllLoss> nllLoss;

enum class DivergenceReduction { Mean, BatchMean, Sum, None };
struct Divergence {
  bool logTarget = false;
  DivergenceReduction reduction = DivergenceReduction::BatchMean;
};
extern const Op<Divergence> klDivergence;

struct FocalLoss {
  double alpha = 0.25, gamma = 2;
  LossReduction reduction = LossReduction::Mean;
};
extern const Op<FocalLoss> focalLoss;

struct CosineSimilarity {
  int64_t axis = -1;
  double epsilon = 1e-8;
};
extern const Op<CosineSimilarity> cosineSimilarity;

struct MarginLoss {
  double margin = 0;
  LossReduction reduction = LossReduction::Mean;
};
extern const Op<MarginLoss> cosineEmbeddingLoss;

struct TripletLoss {
  double margin = 1, p = 2;
  LossReduction reduction = LossReduction::Mean;
};
extern const Op<TripletLoss> tripletMarginLoss;

}  // namespace anneal::ops
