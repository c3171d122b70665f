require "sidekiq/web"

Rails.application.routes.draw do
  root to: redirect("/agents")

  get "login", to: "sessions#new"
  post "login", to: "sessions#create"
  delete "logout", to: "sessions#destroy"

  resources :agents, only: [:index, :show]
  resources :campaigns, except: [:edit, :update] do
    post :launch, on: :member
  end
  resource :system_health, only: :show, controller: "system_health"

  get "up", to: "rails/health#show", as: :rails_health_check
  mount ActionCable.server => "/cable"
  mount Sidekiq::Web => "/sidekiq"
end
