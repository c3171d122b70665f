require "sidekiq/web"

Rails.application.routes.draw do
  get "up" => "rails/health#show"
  get "login" => "sessions#new"
  post "login" => "sessions#create"
  delete "logout" => "sessions#destroy"

  resources :agents, only: [:index, :show]
  resources :campaigns, only: [:index, :show, :new, :create, :destroy] do
    post :launch, on: :member
  end
  get "system_health" => "system_health#show"

  mount ActionCable.server => "/cable"
  constraints(->(request) { User.exists?(id: request.session[:user_id]) }) { mount Sidekiq::Web => "/sidekiq" }

  root "agents#index"
end
