// The weights that training works on, by their checkpoint names.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "promiseg/core/tensor.hpp"
#include "promiseg/nn/weight_source.hpp"

namespace promiseg::train {

/// A tensor of a source, of any rank up to four.
inline const float* fetch(nn::WeightSource& source, const std::string& name,
                          std::span<const Index> shape) {
  switch (shape.size()) {
    case 1:
      return source.get(name, Extents<1>{shape[0]}).data();
    case 2:
      return source.get(name, Extents<2>{shape[0], shape[1]}).data();
    case 3:
      return source.get(name, Extents<3>{shape[0], shape[1], shape[2]}).data();
    default:
      return source.get(name, Extents<4>{shape[0], shape[1], shape[2], shape[3]}).data();
  }
}

/// The weights of a model with a pack: a pack's names are its own.
class ModelAndPackWeights : public nn::WeightSource {
 public:
  /// Both must outlive this.
  ModelAndPackWeights(nn::WeightSource& model, nn::WeightSource& pack)
      : model_(&model), pack_(&pack) {}

 private:
  const float* find(const std::string& name, std::span<const Index> shape) override {
    const bool sam = name.starts_with("image_encoder.") || name.starts_with("prompt_encoder.") ||
                     name.starts_with("mask_decoder.");
    return fetch(sam ? *model_ : *pack_, name, shape);
  }

  nn::WeightSource* model_;
  nn::WeightSource* pack_;
};

/// What happens to a tensor in training.
enum class Role {
  frozen,      ///< nothing: it stays with its source
  trained,     ///< the optimiser changes it
  statistics,  ///< a batch norm's running mean or variance, which the forward pass changes
};

/// A tensor that training changes.
struct Parameter {
  std::vector<Index> shape;
  std::vector<float, AlignedAllocator<float>> value;
  std::vector<float, AlignedAllocator<float>> gradient;
  Role role = Role::trained;
  bool used = false;  ///< some layer reads it; what no layer reads has no gradient
};

/// Hands out weights to layers: its own copies of those that train, the source's of the others. A
/// layer is made anew from them after every step of the optimiser.
class Parameters : public nn::WeightSource {
 public:
  using RoleOf = std::function<Role(const std::string& name)>;

  /// `source` holds the first values; it must outlive the parameters where weights are frozen.
  Parameters(nn::WeightSource& source, RoleOf role_of)
      : source_(&source), role_of_(std::move(role_of)) {}

  std::map<std::string, Parameter>& all() { return parameters_; }
  const std::map<std::string, Parameter>& all() const { return parameters_; }

  /// Throws `not_found` for a tensor that is not trained.
  Parameter& at(const std::string& name) {
    const auto found = parameters_.find(name);
    require(found != parameters_.end(), ErrorCode::not_found, "no parameter \"", name,
            "\" is trained");
    return found->second;
  }

  /// The parameter whose value an address lies in; null if there is none.
  Parameter* containing(const float* data) {
    const auto next = by_address_.upper_bound(data);
    if (next == by_address_.begin()) return nullptr;
    Parameter* parameter = std::prev(next)->second;
    return data < parameter->value.data() + parameter->value.size() ? parameter : nullptr;
  }

  /// The gradient of a view of a parameter's value; empty if the optimiser does not change it.
  template <std::size_t Rank>
  TensorView<float, Rank> gradient(const TensorView<const float, Rank>& value) {
    Parameter* parameter = containing(value.data());
    if (parameter == nullptr || parameter->role != Role::trained) return {};
    parameter->used = true;
    float* data = parameter->gradient.data() + (value.data() - parameter->value.data());
    return {data, value.extents(), value.strides()};
  }

  void clear_gradients() {
    for (auto& [name, parameter] : parameters_) {
      std::fill(parameter.gradient.begin(), parameter.gradient.end(), 0.0F);
    }
  }

 private:
  const float* find(const std::string& name, std::span<const Index> shape) override {
    const auto found = parameters_.find(name);
    if (found != parameters_.end()) {
      require(std::equal(shape.begin(), shape.end(), found->second.shape.begin(),
                         found->second.shape.end()),
              ErrorCode::shape_mismatch, "parameter \"", name, "\": expected shape ",
              ShapeText{shape.data(), shape.size()}, ", got ",
              ShapeText{found->second.shape.data(), found->second.shape.size()});
      return found->second.value.data();
    }
    const float* first = fetch(*source_, name, shape);
    const Role role = role_of_(name);
    if (role == Role::frozen) return first;
    Parameter& parameter = parameters_[name];
    parameter.shape.assign(shape.begin(), shape.end());
    parameter.role = role;
    Index count = 1;
    for (Index extent : shape) count *= extent;
    parameter.value.assign(first, first + count);
    if (role == Role::trained) parameter.gradient.assign(parameter.value.size(), 0.0F);
    by_address_[parameter.value.data()] = &parameter;
    return parameter.value.data();
  }

  nn::WeightSource* source_;
  RoleOf role_of_;
  std::map<std::string, Parameter> parameters_;
  std::map<const float*, Parameter*> by_address_;
};

}  // namespace promiseg::train
