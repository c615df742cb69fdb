// A backend that remembers: it models `Backend` over another backend, runs every primitive there,
// and notes what the gradient of each needs. The model code stays as it is.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "promiseg/backend/training_concept.hpp"
#include "promiseg/nn/conv_norm.hpp"
#include "promiseg/train/gradient_memory.hpp"
#include "promiseg/train/parameters.hpp"
#include "promiseg/train/tracked_weights.hpp"

namespace promiseg::train {

/// Records one pass through a model and runs it backwards. What a layer reads must not change until
/// then, and the layers must stay where they are. Works in host memory. Not for several threads.
template <TrainingBackend B>
class Tape {
 public:
  /// Movable, as the concept asks; copies of a pointer to what is shared with the recorded steps.
  class PackedMatrix {
   public:
    explicit PackedMatrix(std::shared_ptr<TrackedWeights<B>> weights)
        : weights_(std::move(weights)) {}
    TrackedWeights<B>* operator->() const { return weights_.get(); }

   private:
    std::shared_ptr<TrackedWeights<B>> weights_;
  };

  /// Both must outlive the tape.
  Tape(B& backend, Parameters& parameters)
      : backend_(&backend), parameters_(&parameters), saved_(backend), scratch_(backend) {
    require(backend.space() == MemorySpace::host, ErrorCode::unsupported,
            "training runs on backends whose memory is the host's");
  }
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  /// Forgets what was recorded. A pass begins with it, after layers have been made: what their
  /// weights were written with would be recorded, too.
  void reset() {
    steps_.clear();
    memory_.forget_values();
    saved_frame_.reset();
    saved_frame_.reset(new Frame(saved_.frame()));
  }

  /// Forgets which weights lie where, before layers are made anew.
  void forget_weights() {
    tracked_.clear();
    derived_.clear();
    memory_.forget_weights();
  }

  /// Runs what was recorded backwards; gradients of outputs have been written to `gradient(out)`.
  /// The gradients of parameters then have grown by this pass's.
  void run_backwards() {
    for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
      const auto frame = scratch_.frame();
      (*step)();
    }
    for (const Tracked& weight : tracked_) {
      const auto gradient = memory_.gradient(weight.stored);
      backend_->accumulate(gradient, 1.0F, weight.gradient);
      backend_->fill(0.0F, gradient);
    }
    for (const Derived& values : derived_) {
      const auto gradient = memory_.gradient(values.stored);
      values.adjoint(gradient);
      backend_->fill(0.0F, gradient);
    }
    reset();
  }

  /// Values that came from the host and have a gradient: the host's own steps wrote them.
  template <std::size_t Rank>
  void watch(const TensorView<float, Rank>& view) {
    memory_.note(view, true);
  }

  /// True if a gradient of these values is wanted.
  template <std::size_t Rank>
  bool needs(const TensorView<float, Rank>& view) const {
    return memory_.needs(view);
  }

  /// The gradient of values in the tape's memory; meaningful while it runs backwards.
  template <class T, std::size_t Rank>
  TensorView<float, Rank> gradient(const TensorView<T, Rank>& view) const {
    return memory_.gradient(view);
  }

  /// Adds a step of the host's own: called on the way back, it passes the gradients of what it
  /// wrote on to what it read.
  void record(std::function<void()> step) { steps_.push_back(std::move(step)); }

  /// Sets the gradient of values to zero on the way back, as whatever writes them must.
  template <std::size_t Rank>
  void record_write(const TensorView<float, Rank>& view) {
    record([this, view] { clear(view); });
  }

  // What `Backend` asks for.

  std::string_view name() const { return backend_->name(); }
  MemorySpace space() const { return backend_->space(); }

  Buffer allocate(std::size_t size) {
    const std::size_t rounded = (size + kAlignment - 1) / kAlignment * kAlignment;
    Buffer buffer = backend_->allocate(2 * rounded);
    auto* shadow = reinterpret_cast<float*>(static_cast<std::byte*>(buffer.data()) + rounded);
    backend_->fill(
        0.0F, TensorView<float, 4>(shadow, {1, 1, 1, static_cast<Index>(rounded / sizeof(float))}));
    memory_.add_shadow(buffer);
    buffer.truncate(size);
    return buffer;
  }

  void upload(TensorView<const float, 1> from, TensorView<float, 1> to) {
    backend_->upload(from, to);
    memory_.note(to, false);
    record_write(to);
  }
  void download(TensorView<const float, 1> from, TensorView<float, 1> to) {
    backend_->download(from, to);
  }

  PackedMatrix pack(TensorView<const float, 2> weights) {
    return pack_tracked(weights.with_unit_axis(1).with_unit_axis(0));
  }

  /// See `nn::TracksWeights`.
  PackedMatrix pack_tracked(TensorView<const float, 4> weights,
                            std::optional<ConvGeometry> geometry = {}) {
    return PackedMatrix(std::make_shared<TrackedWeights<B>>(
        *backend_, weights, parameters_->gradient(weights), geometry));
  }

  void track(TensorView<const float, 4> host, TensorView<const float, 4> stored) {
    const TensorView<float, 4> gradient = parameters_->gradient(host);
    if (gradient.data() == nullptr) return;
    tracked_.push_back({stored, gradient});
    memory_.note_weight(stored);
  }

  void track_derived(TensorView<const float, 4> stored,
                     std::function<void(TensorView<const float, 4>)> adjoint) {
    derived_.push_back({stored, std::move(adjoint)});
    memory_.note_weight(stored);
  }

  template <std::size_t Rank>
  TensorView<float, Rank> weight_gradient(const TensorView<const float, Rank>& host) {
    return parameters_->gradient(host);
  }

  void gemm(TensorView<const float, 2> in, const PackedMatrix& weights, const Epilogue<2>& epilogue,
            TensorView<float, 2> out) {
    const EpilogueNeeds needs = needs_of(epilogue);
    const bool needed = weights->trains() || memory_.needs(in) || needs.any();
    const Before<2> before = run_activated(
        needed, epilogue, out, [&](const Epilogue<2>& applied, TensorView<float, 2> to) {
          backend_->gemm(in, weights->packed(), applied, to);
        });
    if (!needed) return;
    const auto kept = weights->trains() ? keep(in) : TensorView<const float, 2>{};
    record([this, in, needs_in = memory_.needs(in), kept, weights, epilogue, needs, before, out] {
      unwind(epilogue, needs, before, out, [&](TensorView<float, 2> gradient) {
        if (needs_in) {
          const auto to = memory_.gradient(in);
          backend_->gemm(gradient, weights->transposed(*backend_),
                         {{}, to, Activation::none, epilogue.scale}, to);
        }
        if (weights->trains()) {
          const auto image = [](auto rows) { return rows.with_unit_axis(0).with_unit_axis(0); };
          weights->grow_weights(*backend_, scratch_, {1, 1, 0}, image(kept), image(gradient),
                                epilogue.scale);
        }
      });
    });
  }

  void batched_gemm(TensorView<const float, 3> a, TensorView<const float, 3> b, float scale,
                    TensorView<float, 3> out) {
    backend_->batched_gemm(a, b, scale, out);
    const bool needs_a = memory_.needs(a);
    const bool needs_b = memory_.needs(b);
    if (!note(out, needs_a || needs_b)) return;
    const auto kept_a = needs_b ? keep_as_it_lies(a) : TensorView<const float, 3>{};
    const auto kept_b = needs_a ? keep_as_it_lies(b) : TensorView<const float, 3>{};
    record([=, this] {
      const auto turned = [](const auto& view) { return view.permuted({0, 2, 1}); };
      const auto gradient = memory_.gradient(out);
      if (needs_a) {
        backend_->accumulate_batched_gemm(gradient, turned(kept_b), scale, memory_.gradient(a));
      }
      if (needs_b) {
        backend_->accumulate_batched_gemm(turned(kept_a), gradient, scale, memory_.gradient(b));
      }
      clear(out);
    });
  }

  void conv2d(TensorView<const float, 4> in, const PackedMatrix& weights, ConvGeometry geometry,
              const Epilogue<4>& epilogue, TensorView<float, 4> out) {
    const EpilogueNeeds needs = needs_of(epilogue);
    const bool needed = weights->trains() || memory_.needs(in) || needs.any();
    const Before<4> before = run_activated(
        needed, epilogue, out, [&](const Epilogue<4>& applied, TensorView<float, 4> to) {
          backend_->conv2d(in, weights->packed(), geometry, applied, to);
        });
    if (!needed) return;
    const auto kept = weights->trains() ? keep(in) : TensorView<const float, 4>{};
    record([this, in, needs_in = memory_.needs(in), kept, weights, geometry, epilogue, needs,
            before, out] {
      unwind(epilogue, needs, before, out, [&](TensorView<float, 4> gradient) {
        if (needs_in)
          weights->grow_conv_input(*backend_, scratch_, geometry, gradient, epilogue.scale,
                                   memory_.gradient(in));
        if (weights->trains())
          weights->grow_weights(*backend_, scratch_, geometry, kept, gradient, epilogue.scale);
      });
    });
  }

  void conv_transpose2d(TensorView<const float, 4> in, const PackedMatrix& weights, Index kernel,
                        TensorView<const float, 1> bias, Activation activation,
                        TensorView<float, 4> out) {
    const Epilogue<4> epilogue{bias, {}, activation};
    const EpilogueNeeds needs = needs_of(epilogue);
    const bool needed = weights->trains() || memory_.needs(in) || needs.any();
    const Before<4> before = run_activated(
        needed, epilogue, out, [&](const Epilogue<4>& applied, TensorView<float, 4> to) {
          backend_->conv_transpose2d(in, weights->packed(), kernel, applied.bias,
                                     applied.activation, to);
        });
    if (!needed) return;
    const auto kept = weights->trains() ? keep(in) : TensorView<const float, 4>{};
    const ConvGeometry geometry{kernel, kernel, 0};
    record([this, in, needs_in = memory_.needs(in), kept, weights, geometry, epilogue, needs,
            before, out] {
      unwind(epilogue, needs, before, out, [&](TensorView<float, 4> gradient) {
        // Going back, it is an ordinary convolution whose kernel equals its stride.
        if (needs_in) {
          const auto to = memory_.gradient(in);
          backend_->conv2d(gradient, weights->transposed(*backend_), geometry, {{}, to}, to);
        }
        if (weights->trains())
          weights->grow_transposed_weights(*backend_, scratch_, geometry, gradient, kept);
      });
    });
  }

  void depthwise_conv2d(TensorView<const float, 4> in, TensorView<const float, 3> weights,
                        ConvGeometry geometry, const Epilogue<4>& epilogue,
                        TensorView<float, 4> out) {
    const bool needs_weights = memory_.needs(weights);
    const EpilogueNeeds needs = needs_of(epilogue);
    const bool needed = needs_weights || memory_.needs(in) || needs.any();
    const Before<4> before = run_activated(
        needed, epilogue, out, [&](const Epilogue<4>& applied, TensorView<float, 4> to) {
          backend_->depthwise_conv2d(in, weights, geometry, applied, to);
        });
    if (!needed) return;
    const auto kept = keep(in);
    record([=, this, needs_in = memory_.needs(in)] {
      unwind(epilogue, needs, before, out, [&](TensorView<float, 4> gradient) {
        backend_->depthwise_conv2d_gradient(
            kept, weights, geometry, scaled(gradient, epilogue.scale),
            needs_in ? memory_.gradient(in) : TensorView<float, 4>{},
            needs_weights ? memory_.gradient(weights) : TensorView<float, 3>{});
      });
    });
  }

  void layer_norm(TensorView<const float, 2> in, TensorView<const float, 1> gamma,
                  TensorView<const float, 1> beta, float epsilon, Activation activation,
                  TensorView<float, 2> out) {
    const bool needs_in = memory_.needs(in);
    const bool needs_gamma = memory_.needs(gamma);
    const bool needs_beta = memory_.needs(beta);
    const bool needed = needs_in || needs_gamma || needs_beta;
    const auto kept = needed ? keep(in) : TensorView<const float, 2>{};
    const Epilogue<2> epilogue{{}, {}, activation};
    const Before<2> before = run_activated(
        needed, epilogue, out, [&](const Epilogue<2>& applied, TensorView<float, 2> to) {
          backend_->layer_norm(in, gamma, beta, epsilon, applied.activation, to);
        });
    if (!needed) return;
    record([=, this] {
      const auto gradient = take(out);  // in and out may be the same
      through_activation(activation, before, gradient);
      const auto wanted = [&](bool wants, const auto& view) {
        return wants ? memory_.gradient(view) : decltype(memory_.gradient(view)){};
      };
      backend_->layer_norm_gradient(kept, gamma, epsilon, gradient, wanted(needs_in, in),
                                    wanted(needs_gamma, gamma), wanted(needs_beta, beta));
    });
  }

  void softmax(TensorView<float, 2> rows) {
    backend_->softmax(rows);
    if (!memory_.needs(rows)) return;  // as it came in, so it stays
    const auto kept = keep(TensorView<const float, 2>(rows));
    record([=, this] { backend_->softmax_gradient(kept, memory_.gradient(rows)); });
  }

  void max_pool2d(TensorView<const float, 4> in, ConvGeometry geometry, TensorView<float, 4> out) {
    backend_->max_pool2d(in, geometry, out);
    if (!note(out, memory_.needs(in))) return;
    const auto kept = keep(in);
    record([=, this] {
      backend_->max_pool2d_gradient(kept, geometry, memory_.gradient(out), memory_.gradient(in));
      clear(out);
    });
  }

  void mean_pixels(TensorView<const float, 4> in, TensorView<float, 2> out) {
    backend_->mean_pixels(in, out);
    if (!note(out, memory_.needs(in))) return;
    record([=, this] {
      const auto gradient = TensorView<const float, 2>(memory_.gradient(out));
      const float share = 1.0F / static_cast<float>(in.extent(1) * in.extent(2));
      backend_->accumulate(gradient.with_unit_axis(1).with_unit_axis(1).broadcast_to(in.extents()),
                           share, memory_.gradient(in));
      clear(out);
    });
  }

  void add(TensorView<const float, 4> a, TensorView<const float, 4> b, TensorView<float, 4> out) {
    backend_->add(a, b, out);
    const bool needs_a = memory_.needs(a);
    const bool needs_b = memory_.needs(b);
    if (!note(out, needs_a || needs_b)) return;
    record([=, this] {
      const auto gradient = memory_.gradient(out);
      // An operand that is the output keeps the gradient where it is.
      const bool a_stays = a.data() == out.data();
      const bool b_stays = b.data() == out.data();
      if (needs_a && !a_stays) backend_->accumulate(gradient, 1.0F, memory_.gradient(a));
      if (needs_b && !b_stays) backend_->accumulate(gradient, 1.0F, memory_.gradient(b));
      if (a_stays && b_stays) backend_->accumulate(copied(gradient), 1.0F, gradient);
      if (!a_stays && !b_stays) clear(out);
    });
  }

  void copy(TensorView<const float, 4> from, TensorView<float, 4> to) {
    backend_->copy(from, to);
    if (!note(to, memory_.needs(from))) return;
    record([=, this] {
      backend_->accumulate(memory_.gradient(to), 1.0F, memory_.gradient(from));
      clear(to);
    });
  }

  /// See `nn::HasBatchNorm`. Where the running statistics are parameters the norm measures its
  /// input and moves them, as PyTorch's does in training mode; elsewhere it uses them.
  void batch_norm_layer(TensorView<const float, 2> in, const nn::BatchNorm& norm,
                        Activation activation, TensorView<const float, 2> residual,
                        TensorView<float, 2> out) {
    const Index channels = in.extent(1);
    const BatchMoments moments{saved_.tensor(Extents<1>{channels}),
                               saved_.tensor(Extents<1>{channels})};
    Parameter* mean = parameters_->containing(norm.running_mean.data());
    Parameter* variance = parameters_->containing(norm.running_variance.data());
    const bool measures = mean != nullptr && variance != nullptr;
    if (measures) {
      backend_->batch_moments(in, moments);
      move_statistics(*mean, moments.mean, 1.0F);
      const auto rows = static_cast<float>(in.extent(0));
      move_statistics(*variance, moments.variance, rows / std::max(1.0F, rows - 1.0F));
    } else {
      backend_->upload(norm.running_mean, moments.mean);
      backend_->upload(norm.running_variance, moments.variance);
    }
    const Epilogue<2> epilogue{{}, residual, activation};
    const bool needs_in = memory_.needs(in);
    const bool needs_gamma = memory_.needs(norm.gamma);
    const bool needs_beta = memory_.needs(norm.beta);
    const EpilogueNeeds needs = needs_of(epilogue);
    const bool needed = needs_in || needs_gamma || needs_beta || needs.any();
    const auto kept = needed ? keep(in) : TensorView<const float, 2>{};
    const auto image = [](const auto& rows) { return rows.with_unit_axis(0).with_unit_axis(0); };
    const auto run = [&](TensorView<float, 2> to) {
      if (residual.data() == nullptr) {
        backend_->batch_norm(in, norm.gamma, norm.beta, moments, norm.epsilon, to);
        return;
      }
      const auto frame = scratch_.frame();
      const auto normed = scratch_.tensor(to.extents());
      backend_->batch_norm(in, norm.gamma, norm.beta, moments, norm.epsilon, normed);
      backend_->add(image(normed), image(residual), image(to));
    };
    const auto before = needed && activation != Activation::none ? saved_.tensor(out.extents())
                                                                 : TensorView<float, 2>{};
    run(before.data() != nullptr ? before : out);
    if (activation != Activation::none) {
      activate<2>(before.data() != nullptr ? before : out, activation, out);
    }
    if (!note(out, needed)) return;
    record([=, this] {
      unwind(epilogue, needs, Before<2>(before), out, [&](TensorView<float, 2> gradient) {
        const auto wanted = [&](bool wants, const auto& view) {
          return wants ? memory_.gradient(view) : decltype(memory_.gradient(view)){};
        };
        backend_->batch_norm_gradient(kept, norm.gamma, moments, norm.epsilon, measures, gradient,
                                      wanted(needs_in, in), wanted(needs_gamma, norm.gamma),
                                      wanted(needs_beta, norm.beta));
      });
    });
  }

 private:
  /// What went into an activation; empty where there was none.
  template <std::size_t Rank>
  using Before = TensorView<const float, Rank>;

  using Frame = typename nn::Workspace<B>::Frame;

  struct Tracked {
    TensorView<const float, 4> stored;
    TensorView<float, 4> gradient;
  };

  struct Derived {
    TensorView<const float, 4> stored;
    std::function<void(TensorView<const float, 4>)> adjoint;
  };

  /// A copy of values for the way back, in row-major order.
  template <std::size_t Rank>
  TensorView<const float, Rank> keep(const TensorView<const float, Rank>& view) {
    const auto copy = saved_.tensor(view.extents());
    backend_->copy(nn::detail::as_rank4(view), nn::detail::as_rank4(copy));
    return copy;
  }

  /// The same with the axes in the order that they have in memory, which is faster to copy.
  template <std::size_t Rank>
  TensorView<const float, Rank> keep_as_it_lies(const TensorView<const float, Rank>& view) {
    std::array<std::size_t, Rank> order{};
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&view](std::size_t a, std::size_t b) {
      return view.stride(a) > view.stride(b);
    });
    std::array<std::size_t, Rank> back{};
    for (std::size_t axis = 0; axis < Rank; ++axis) back[order[axis]] = axis;
    return keep(view.permuted(order)).permuted(back);
  }

  /// Notes what has been written; true if the way back must know more than that.
  template <std::size_t Rank>
  bool note(const TensorView<float, Rank>& out, bool needed) {
    memory_.note(out, needed);
    if (!needed) record_write(out);
    return needed;
  }

  template <std::size_t Rank>
  void clear(const TensorView<float, Rank>& view) {
    backend_->fill(0.0F, nn::detail::as_rank4(memory_.gradient(view)));
  }

  /// The gradient of what was written, moved out of the way.
  template <std::size_t Rank>
  TensorView<float, Rank> take(const TensorView<float, Rank>& view) {
    const auto taken = scratch_.tensor(view.extents());
    backend_->copy(nn::detail::as_rank4(memory_.gradient(view)), nn::detail::as_rank4(taken));
    clear(view);
    return taken;
  }

  /// Which parts of an epilogue have a gradient: asked when it is recorded, since later other
  /// values lie there.
  struct EpilogueNeeds {
    bool bias = false;
    bool residual = false;

    bool any() const { return bias || residual; }
  };

  template <std::size_t Rank>
  EpilogueNeeds needs_of(const Epilogue<Rank>& epilogue) const {
    return {memory_.needs(epilogue.bias), memory_.needs(epilogue.residual)};
  }

  /// scale * gradient
  TensorView<const float, 4> scaled(TensorView<const float, 4> gradient, float scale) {
    if (scale == 1.0F) return gradient;
    const auto product = scratch_.tensor(gradient.extents());
    backend_->fill(0.0F, product);
    backend_->accumulate(gradient, scale, product);
    return product;
  }

  template <std::size_t Rank>
  void activate(TensorView<const float, Rank> in, Activation activation,
                TensorView<float, Rank> out) {
    const Extents<1> flat{in.size()};
    backend_->activate(in.reshaped(flat), activation, out.reshaped(flat));
  }

  /// Runs a primitive with an epilogue and notes its output. Where there is a way back, it runs
  /// without the activation, which follows on its own.
  template <std::size_t Rank, class Run>
  Before<Rank> run_activated(bool needed, const Epilogue<Rank>& epilogue,
                             TensorView<float, Rank> out, const Run& run) {
    Before<Rank> before;
    if (needed && epilogue.activation != Activation::none) {
      Epilogue<Rank> linear = epilogue;
      linear.activation = Activation::none;
      const auto product = saved_.tensor(out.extents());
      run(linear, product);
      activate<Rank>(product, epilogue.activation, out);
      before = product;
    } else {
      run(epilogue, out);
    }
    note(out, needed);
    return before;
  }

  template <std::size_t Rank>
  void through_activation(Activation activation, Before<Rank> before,
                          TensorView<float, Rank> gradient) {
    if (activation == Activation::none) return;
    const Extents<1> flat{gradient.size()};
    backend_->activation_gradient(before.reshaped(flat), activation, gradient.reshaped(flat));
  }

  /// Takes the gradient of an output back through an epilogue and calls `use` with that of the
  /// product, times nothing: the scale is the caller's.
  template <std::size_t Rank, class Use>
  void unwind(const Epilogue<Rank>& epilogue, EpilogueNeeds needs, Before<Rank> before,
              TensorView<float, Rank> out, const Use& use) {
    const bool residual_stays = epilogue.residual.data() == out.data();
    const auto stored = memory_.gradient(out);
    const auto gradient = stored.is_contiguous() ? stored : copied(stored);
    through_activation(epilogue.activation, before, gradient);
    if (needs.bias) {
      const auto bias = memory_.gradient(epilogue.bias);
      const Extents<4> rows{1, 1, gradient.size() / bias.extent(0), bias.extent(0)};
      backend_->accumulate(gradient.reshaped(rows), 1.0F,
                           nn::detail::as_rank4(bias).broadcast_to(rows));
    }
    if (needs.residual && !residual_stays) {
      backend_->accumulate(nn::detail::as_rank4(gradient), 1.0F,
                           nn::detail::as_rank4(memory_.gradient(epilogue.residual)));
    }
    use(gradient);
    if (!residual_stays) {
      clear(out);
    } else if (gradient.data() != stored.data()) {
      backend_->copy(nn::detail::as_rank4(gradient), nn::detail::as_rank4(stored));
    }
  }

  template <std::size_t Rank>
  TensorView<float, Rank> copied(const TensorView<float, Rank>& view) {
    const auto copy = scratch_.tensor(view.extents());
    backend_->copy(nn::detail::as_rank4(view), nn::detail::as_rank4(copy));
    return copy;
  }

  /// PyTorch's running statistics, momentum 0.1.
  static void move_statistics(Parameter& parameter, TensorView<const float, 1> measured,
                              float factor) {
    constexpr float kMomentum = 0.1F;
    for (Index c = 0; c < measured.extent(0); ++c) {
      float& value = parameter.value[static_cast<std::size_t>(c)];
      value = (1.0F - kMomentum) * value + kMomentum * factor * measured(c);
    }
  }

  B* backend_;
  Parameters* parameters_;
  GradientMemory memory_;
  nn::Workspace<B> saved_;
  nn::Workspace<B> scratch_;
  std::unique_ptr<Frame> saved_frame_;
  std::vector<std::function<void()>> steps_;
  std::vector<Tracked> tracked_;
  std::vector<Derived> derived_;
};

}  // namespace promiseg::train
