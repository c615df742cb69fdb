// How an image encoder reports what passes through it.
#pragma once

#include <functional>
#include <optional>

#include "promiseg/core/tensor_view.hpp"

namespace promiseg {

/// One point on the way through an encoder.
struct EncoderStage {
  enum class Kind {
    patch_embed,  ///< the embedded patches, before any position embedding
    block,        ///< ViT: the tokens after block `index`, counted from 0
    stage,        ///< TinyViT: the features after stage `index`, its down-sampling included
  };
  Kind kind = Kind::patch_embed;
  Index index = 0;
  Index count = 0;  ///< how many of this kind there are
  /// The number under which the paper's modules know these features, if they do.
  std::optional<Index> tap() const {
    if (kind == Kind::patch_embed) return std::nullopt;
    return kind == Kind::block ? index + 1 : index;
  }

  TensorView<const float, 3> features{};  ///< [h, w, C], in the backend's memory, valid in the call
};

/// Called at every stage, in order: for traces, for the features that APM reads, for progress.
using EncoderObserver = std::function<void(const EncoderStage&)>;

}  // namespace promiseg
