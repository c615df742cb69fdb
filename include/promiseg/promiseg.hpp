// The whole library but the backends other than the reference, which have headers of their own:
//   #include <promiseg/promiseg.hpp>
//   #include <promiseg/eigen/backend.hpp>
#pragma once

#include "promiseg/adapt/pack.hpp"
#include "promiseg/backend/reference.hpp"
#include "promiseg/sam/predictor.hpp"
#include "promiseg/segmenter.hpp"
