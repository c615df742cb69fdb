// Adam, its learning rate over time, and the limit on gradients.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <string>
#include <string_view>
#include <vector>

#include "promiseg/io/config_fields.hpp"
#include "promiseg/train/parameters.hpp"

namespace promiseg::train {

enum class Schedule {
  constant,
  cosine,  ///< from `rate` to zero over the whole run
};

/// Settings of the optimiser. Defaults are PyTorch's where it has them.
struct OptimiserConfig {
  double rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;  ///< above 0: decoupled, as AdamW has it
  double clip_norm = 0;     ///< above 0: the largest norm of all gradients together
  Index warmup_steps = 0;   ///< the rate grows evenly over these
  Schedule schedule = Schedule::cosine;
};

/// The learning rate of step `step` (from 0) of `steps`.
inline double learning_rate(const OptimiserConfig& config, Index step, Index steps) {
  double rate = config.rate;
  if (config.schedule == Schedule::cosine && steps > 0) {
    const double done = static_cast<double>(step) / static_cast<double>(steps);
    rate *= 0.5 * (1 + std::cos(std::numbers::pi * std::min(done, 1.0)));
  }
  if (step < config.warmup_steps) {
    rate *= static_cast<double>(step + 1) / static_cast<double>(config.warmup_steps);
  }
  return rate;
}

/// The norm of all gradients that the optimiser would apply.
inline double gradient_norm(const Parameters& parameters) {
  double sum = 0;
  for (const auto& [name, parameter] : parameters.all()) {
    if (!parameter.used) continue;
    for (float g : parameter.gradient) sum += double{g} * double{g};
  }
  return std::sqrt(sum);
}

/// Adam (Kingma and Ba, 2014), with decoupled weight decay (Loshchilov and Hutter, 2017) if wanted.
/// Leaves alone what has not had a gradient yet, decay included; PyTorch does so where there is
/// none, and counts a gradient of zero as one.
class Adam {
 public:
  /// The running means of a parameter's gradient and of its square.
  struct Moments {
    std::vector<float> mean;
    std::vector<float> square;
    Index steps = 0;  ///< with a gradient
  };

  explicit Adam(const OptimiserConfig& config) : config_(config) {}

  const OptimiserConfig& config() const { return config_; }

  const std::map<std::string, Moments>& moments() const { return moments_; }

  /// Goes on from where an optimiser was.
  void restore(std::map<std::string, Moments> moments) { moments_ = std::move(moments); }

  /// Changes the values by the gradients, at the given rate.
  void step(Parameters& parameters, double rate) {
    double factor = 1;
    if (config_.clip_norm > 0) {
      factor = std::min(1.0, config_.clip_norm / (gradient_norm(parameters) + 1e-6));
    }

    for (auto& [name, parameter] : parameters.all()) {
      if (!moments_.contains(name) && has_no_gradient(parameter)) continue;
      Moments& moments = moments_[name];
      moments.mean.resize(parameter.value.size());
      moments.square.resize(parameter.value.size());
      const auto steps = static_cast<double>(++moments.steps);
      const double correction1 = 1 - std::pow(config_.beta1, steps);
      const double correction2 = std::sqrt(1 - std::pow(config_.beta2, steps));
      const auto beta1 = static_cast<float>(config_.beta1);
      const auto beta2 = static_cast<float>(config_.beta2);
      const auto rest1 = static_cast<float>(1 - config_.beta1);
      const auto rest2 = static_cast<float>(1 - config_.beta2);
      const auto scale = static_cast<float>(factor);
      const auto decay = static_cast<float>(1 - rate * config_.weight_decay);
      const auto step_size = static_cast<float>(rate / correction1);
      const auto inverse2 = static_cast<float>(1 / correction2);
      const auto epsilon = static_cast<float>(config_.epsilon);
      for (std::size_t i = 0; i < parameter.value.size(); ++i) {
        const float g = parameter.gradient[i] * scale;
        float& mean = moments.mean[i];
        float& square = moments.square[i];
        mean = beta1 * mean + rest1 * g;
        square = beta2 * square + rest2 * g * g;
        parameter.value[i] = parameter.value[i] * decay -
                             step_size * mean / (std::sqrt(square) * inverse2 + epsilon);
      }
    }
  }

 private:
  static bool has_no_gradient(const Parameter& parameter) {
    return !parameter.used || std::all_of(parameter.gradient.begin(), parameter.gradient.end(),
                                          [](float g) { return g == 0.0F; });
  }

  OptimiserConfig config_;

  std::map<std::string, Moments> moments_;
};

}  // namespace promiseg::train

namespace promiseg::detail {

template <>
struct EnumNames<train::Schedule> {
  static constexpr std::array<std::string_view, 2> kNames = {"constant", "cosine"};
};

}  // namespace promiseg::detail
