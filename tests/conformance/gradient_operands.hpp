// The primitives that only training needs: their names, their budgets, and the operands of a case,
// which may have several destinations.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "prepared_case.hpp"
#include "promiseg/backend/training_concept.hpp"
#include "tolerance.hpp"

namespace promiseg::conformance {

enum class GradientOperation {
  fill,
  accumulate,
  activate,
  activation_gradient,
  accumulate_batched_gemm,
  conv2d_weight_gradient,
  depthwise_conv2d_gradient,
  layer_norm_gradient,
  softmax_gradient,
  max_pool2d_gradient,
  batch_moments,
  batch_norm,
  batch_norm_gradient,
};

inline constexpr std::array<std::string_view, 13> kGradientOperationNames = {
    "fill",
    "accumulate",
    "activate",
    "activation_gradient",
    "accumulate_batched_gemm",
    "conv2d_weight_gradient",
    "depthwise_conv2d_gradient",
    "layer_norm_gradient",
    "softmax_gradient",
    "max_pool2d_gradient",
    "batch_moments",
    "batch_norm",
    "batch_norm_gradient"};

inline std::string_view to_string(GradientOperation operation) {
  return kGradientOperationNames[static_cast<std::size_t>(operation)];
}

/// As `Tolerance`; bounds on every destination of a case by itself.
struct GradientTolerance {
  GradientOperation operation;
  double relative_l2;
  double max_abs;
};

/// The reference sums in double (but for depthwise_conv2d_gradient and max_pool2d_gradient, which
/// add floats in the order of the pixels), so all of the difference is the backend's. The kernels
/// are those of the forward pass or sum in the same way, so most bounds are the forward pass's. A
/// number is not raised without a reason here. Cases that must agree to the last bit say so
/// themselves: filling, adding without a sum, ReLU.
inline constexpr std::array<GradientTolerance, 13> kGradientTolerances = {{
    {GradientOperation::fill, 0, 0},
    // Float sums in blocks of 256, or along a line of a few thousand; the blocks in double.
    {GradientOperation::accumulate, 1e-6, 3e-6},
    // GELU is known to 1.6e-6; its slope to half the error of erf, 3e-7.
    {GradientOperation::activate, 1e-6, 5e-6},
    {GradientOperation::activation_gradient, 1e-6, 2e-6},
    // As batched_gemm and conv2d: the same tiles, sums of up to 65536 in blocks of 384.
    {GradientOperation::accumulate_batched_gemm, 1.5e-6, 1.5e-5},
    {GradientOperation::conv2d_weight_gradient, 1.5e-6, 1.5e-5},
    // As depthwise_conv2d, for sums over up to 400 pixels.
    {GradientOperation::depthwise_conv2d_gradient, 1e-6, 4e-6},
    // As layer_norm: mean and variance are measured again; 17 values around 10 are the hardest.
    {GradientOperation::layer_norm_gradient, 4e-6, 1e-5},
    // One sum over a row of up to 4096 products, and two roundings.
    {GradientOperation::softmax_gradient, 1e-6, 2e-6},
    // A handful of floats meet at one place, in any order.
    {GradientOperation::max_pool2d_gradient, 1e-7, 1e-6},
    // Blocks of 256 rows in float; a mean of 3 has an absolute error of 1.2e-6.
    {GradientOperation::batch_moments, 1e-6, 4e-6},
    // Two roundings of a value of up to 5.
    {GradientOperation::batch_norm, 5e-7, 3e-6},
    // Two sums over rows as in batch_moments; what is left after them is smaller than they are.
    {GradientOperation::batch_norm_gradient, 2e-6, 1e-5},
}};

constexpr Tolerance tolerance(GradientOperation operation) {
  const GradientTolerance& bound = kGradientTolerances[static_cast<std::size_t>(operation)];
  return {Operation{}, bound.relative_l2, bound.max_abs};  // `compare` reads the numbers alone
}

/// Operands of one case in a backend's memory. The views it hands out are valid as long as it is.
template <TrainingBackend B>
class GradientOperands {
 public:
  /// The backend must outlive the operands.
  GradientOperands(B& backend, Position position) : backend_(&backend), position_(position) {}

  B& backend() const { return *backend_; }

  /// An operand that is only read.
  template <std::size_t Rank>
  TensorView<float, Rank> input(const Extents<Rank>& extents, Values values,
                                const Form<Rank>& form = {}) {
    auto array = std::make_shared<DeviceArray<Rank>>(
        make_input(*backend_, extents, form, values, position_));
    kept_.push_back(array);
    return array->view();
  }

  /// A destination that is only written.
  template <std::size_t Rank>
  TensorView<float, Rank> written(const Extents<Rank>& extents, const Form<Rank>& form = {}) {
    return destination(HostArray<Rank>::output(extents, form, position_));
  }

  /// A destination that is read first.
  template <std::size_t Rank>
  TensorView<float, Rank> changed(const Extents<Rank>& extents, Values values,
                                  const Form<Rank>& form = {}) {
    return destination(HostArray<Rank>::in_place(extents, form, values, position_));
  }

  /// A destination that is added to. What lies there is of the order of `size`, and positive: a sum
  /// that happens to be near zero would make its relative error meaningless.
  template <std::size_t Rank>
  TensorView<float, Rank> grown(const Extents<Rank>& extents, double size = 1,
                                const Form<Rank>& form = {}) {
    return changed(extents, Values{20 + outputs_.size(), 0.5 * size, 2 * size}, form);
  }

  /// The same, or an empty view: not wanted.
  template <std::size_t Rank>
  TensorView<float, Rank> grown_if(bool wanted, const Extents<Rank>& extents, double size = 1) {
    return wanted ? grown(extents, size) : TensorView<float, Rank>{};
  }

  /// Where the results are in the allocation of each destination.
  std::vector<Placement> placements() const {
    std::vector<Placement> all;
    for (const Output& output : outputs_) all.push_back(output.placement);
    return all;
  }

  /// Restores the destinations as they were before any run.
  void reset() const {
    for (const Output& output : outputs_) backend_->upload(output.before, output.storage);
  }

  /// The whole allocation of every destination.
  std::vector<Tensor<float, 1>> read() const {
    std::vector<Tensor<float, 1>> all;
    for (const Output& output : outputs_) {
      Tensor<float, 1> storage(output.storage.extents());
      backend_->download(output.storage, storage.view());
      all.push_back(std::move(storage));
    }
    return all;
  }

 private:
  struct Output {
    Placement placement;
    TensorView<const float, 1> before;  ///< on the host
    TensorView<float, 1> storage;
  };

  template <std::size_t Rank>
  TensorView<float, Rank> destination(HostArray<Rank> host) {
    auto made = std::make_shared<Destination<Rank>>(*backend_, std::move(host));
    kept_.push_back(made);
    outputs_.push_back({made->before.placement(), made->before.storage(), made->array.storage()});
    return made->view();
  }

  B* backend_;
  Position position_;
  std::vector<std::shared_ptr<void>> kept_;
  std::vector<Output> outputs_;
};

}  // namespace promiseg::conformance
