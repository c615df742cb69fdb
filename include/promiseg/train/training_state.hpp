// A training run on disk, to go on from where it stopped.
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "promiseg/io/safetensors.hpp"
#include "promiseg/train/optimiser.hpp"
#include "promiseg/train/parameters.hpp"

namespace promiseg::train {

/// One line of a run's record.
struct EpochRecord {
  Index epoch = 0;  ///< from 1
  double rate = 0;  ///< of its last step
  double loss = 0;  ///< mean over its steps
  double train_dice = 0;
  double val_dice = 0;
  double seconds = 0;
};

/// Where a run stands, besides its parameters and the optimiser.
struct RunPosition {
  Index epoch = 0;      ///< finished ones
  Index step = 0;       ///< finished ones of the current epoch
  double loss_sum = 0;  ///< of the current epoch's steps
  double dice_sum = 0;
  double best_dice = -1;
  Index best_epoch = 0;  ///< from 1; 0 before the first
  double seconds = 0;    ///< of the current epoch so far
  std::vector<EpochRecord> records;
};

namespace detail {

inline constexpr const char* kStateKey = "promiseg.training";

inline Json to_json(const EpochRecord& record) {
  return Json::Object{{"epoch", static_cast<std::int64_t>(record.epoch)},
                      {"rate", record.rate},
                      {"loss", record.loss},
                      {"train_dice", record.train_dice},
                      {"val_dice", record.val_dice},
                      {"seconds", record.seconds}};
}

inline EpochRecord record_from_json(const Json& json) {
  return {static_cast<Index>(json.at("epoch").as_integer()),
          json.at("rate").as_number(),
          json.at("loss").as_number(),
          json.at("train_dice").as_number(),
          json.at("val_dice").as_number(),
          json.at("seconds").as_number()};
}

/// What a state says in words: the run, where it stands, and how often each parameter was stepped.
struct StateDescription {
  std::string run;
  RunPosition position;
  std::map<std::string, Index> steps;
};

/// Throws `bad_format`, naming the file.
inline StateDescription describe_state(const SafetensorsFile& file) {
  const auto metadata = file.metadata().find(kStateKey);
  require(metadata != file.metadata().end(), ErrorCode::bad_format, file.name(),
          ": this file is not the state of a training run");
  try {
    const Json json = Json::parse(metadata->second);
    StateDescription state;
    state.run = json.at("run").as_string();
    RunPosition& position = state.position;
    position.epoch = static_cast<Index>(json.at("epoch").as_integer());
    position.step = static_cast<Index>(json.at("step").as_integer());
    position.best_epoch = static_cast<Index>(json.at("best_epoch").as_integer());
    for (const Json& record : json.at("records").as_array()) {
      position.records.push_back(record_from_json(record));
    }
    for (const auto& [name, steps] : json.at("optimiser_steps").as_object()) {
      state.steps[name] = static_cast<Index>(steps.as_integer());
    }
    return state;
  } catch (const Error& error) {
    fail(ErrorCode::bad_format, file.name(), ": ", error.what());
  }
}

inline void copy_stored(const SafetensorsFile& file, const std::string& name, auto& to) {
  const TensorEntry& entry = file.at(name);
  require(entry.dtype == DType::f32 && entry.bytes.size() == to.size() * sizeof(float),
          ErrorCode::bad_format, file.name(), ": tensor \"", name, "\": expected ", to.size(),
          " floats");
  std::memcpy(to.data(), entry.bytes.data(), entry.bytes.size());
}

}  // namespace detail

/// Writes everything atomically; numbers are kept bit for bit. `run` names the run: settings, data
/// and model. Throws `io`.
inline void save_state(const std::filesystem::path& path, const std::string& run,
                       const RunPosition& position, const Parameters& parameters,
                       const Adam& optimiser) {
  Json json;
  json.set("run", run);
  json.set("epoch", static_cast<std::int64_t>(position.epoch));
  json.set("step", static_cast<std::int64_t>(position.step));
  json.set("best_epoch", static_cast<std::int64_t>(position.best_epoch));

  Json::Array records;
  for (const EpochRecord& record : position.records) records.push_back(detail::to_json(record));
  json.set("records", std::move(records));
  // Sums must come back bit for bit, so they are tensors.
  const std::array<double, 4> sums{position.loss_sum, position.dice_sum, position.best_dice,
                                   position.seconds};
  SafetensorsWriter writer;
  writer.add("sums", TensorView<const double, 1>(sums.data(), {4}));
  const auto add = [&](const std::string& name, const auto& values) {
    writer.add(name, TensorView<const float, 1>(values.data(), {std::ssize(values)}));
  };
  for (const auto& [name, parameter] : parameters.all()) add("value." + name, parameter.value);
  Json steps = Json::Object{};
  for (const auto& [name, moments] : optimiser.moments()) {
    steps.set(name, static_cast<std::int64_t>(moments.steps));
    add("mean." + name, moments.mean);
    add("square." + name, moments.square);
  }
  json.set("optimiser_steps", std::move(steps));
  writer.set_metadata(detail::kStateKey, json.dump());
  writer.write(path);
}

/// Reads what `save_state` wrote into parameters that have been made the same way. Throws
/// `invalid_argument` for the state of another run, `bad_format` for a file that is none.
inline RunPosition load_state(const std::filesystem::path& path, const std::string& run,
                              Parameters& parameters, Adam& optimiser) {
  const SafetensorsFile file(path);
  detail::StateDescription state = detail::describe_state(file);
  require(state.run == run, ErrorCode::invalid_argument, file.name(),
          ": it belongs to a run with other settings, data or another model; go on with the same "
          "command, or begin anew without --resume");
  RunPosition& position = state.position;
  const auto sums = file.view<double, 1>("sums");
  require_shape(sums, Extents<1>{4}, file.name() + ": sums");
  position.loss_sum = sums(0);
  position.dice_sum = sums(1);
  position.best_dice = sums(2);
  position.seconds = sums(3);
  std::map<std::string, Adam::Moments> moments;
  for (auto& [name, parameter] : parameters.all()) {
    detail::copy_stored(file, "value." + name, parameter.value);
    const auto steps = state.steps.find(name);
    if (steps == state.steps.end()) continue;
    Adam::Moments& own = moments[name];
    own.steps = steps->second;
    own.mean.resize(parameter.value.size());
    own.square.resize(parameter.value.size());
    detail::copy_stored(file, "mean." + name, own.mean);
    detail::copy_stored(file, "square." + name, own.square);
  }
  optimiser.restore(std::move(moments));
  return position;
}

}  // namespace promiseg::train
