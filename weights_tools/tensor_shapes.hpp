// Looks up shapes of named tensors that a config is read from.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "promiseg/core/error.hpp"
#include "sha256.hpp"

namespace promiseg::tools {

/// Every extent it returns is between 1 and 2^31 - 1, whatever the file says.
class TensorShapes {
 public:
  /// The tensors must outlive this object. `label` names their file in messages, `whole` what was
  /// expected of it: "all weights of a SAM".
  TensorShapes(const TensorEntries& tensors, std::string label, std::string whole)
      : tensors_(tensors), label_(std::move(label)), whole_(std::move(whole)) {}

  bool contains(std::string_view name) const { return tensors_.contains(name); }

  bool contains_prefix(std::string_view prefix) const;

  /// The shape of a tensor. Throws `bad_weights` if it is missing, has another rank or an extent
  /// that no weight has.
  const std::vector<Index>& at(const std::string& name, std::size_t rank) const;

  Index extent(const std::string& name, std::size_t rank, std::size_t axis) const {
    return at(name, rank)[axis];
  }

  /// Throws `bad_weights` naming the tensor (one that is there), what was expected and its shape.
  template <class... Parts>
  void check(bool good, const std::string& name, const Parts&... expected) const {
    if (good) return;
    const std::vector<Index>& shape = tensors_.find(name)->second.shape;
    fail(ErrorCode::bad_weights, label_, ": tensor \"", name, "\": expected ", expected...,
         ", got ", ShapeText{shape.data(), shape.size()});
  }

  /// How many numbered parts "PREFIX0.", "PREFIX1.", ... there are: the highest number plus one.
  /// Throws `bad_weights` for a number that no model reaches.
  Index count(const std::string& prefix) const;

  const std::string& label() const { return label_; }

 private:
  const TensorEntries& tensors_;
  std::string label_;
  std::string whole_;
};

}  // namespace promiseg::tools
